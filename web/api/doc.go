// Package api is the JSON API of kineweir's own: streams, what of them is
// recorded, cameras, tokens, and what this server is.
//
//	GET    /api/info
//	GET    /api/streams
//	GET    /api/streams/{name}
//	DELETE /api/streams/{name}
//	GET    /api/streams/{name}/timeline?start&end&time=producer|server
//	POST   /api/streams/{name}/token     {"actions","start","end","expires_in"}
//	POST   /api/tokens/revoke            {"token"} or {"user"}
//	GET    /api/detections?stream&start&end&label&order=oldest|newest&limit&page
//	GET    /api/cameras
//	GET    /api/cameras/{name}
//	PUT    /api/cameras/{name}           {"url","transport","on_demand"}
//	DELETE /api/cameras/{name}
//
// Times are RFC 3339 with milliseconds, sizes bytes, rates bits and frames per
// second, durations seconds. Errors have the envelope of [web.WriteError].
//
// It owns the words of the API and nothing else: it asks the archive, the hub,
// the cameras and the users through small interfaces, keeps no state, and never
// shows a password.
package api
