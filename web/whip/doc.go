// Package whip takes WebRTC publishers in and lets WebRTC viewers out over
// HTTP: WHIP (RFC 9725) at /whip/<stream>, WHEP (draft-ietf-wish-whep) at
// /whep/<stream>.
//
// It owns the exchange of offer and answer on a peer connection that somebody
// else made, the gathering of this server's candidates, trickled candidates and
// ICE restarts (PATCH), the sessions with their URLs, and the answer to "why does
// it not connect": which pairs of candidates were tried, what came back, and
// what to mend. That report can be read at the session's URL while it lasts and
// for some minutes after, is logged, and is counted by its cause.
//
// It never knows what flows through a connection, which codecs there are, or
// when a stream is live: those who make the connections do.
//
// # A session
//
//	POST    /whip/<stream>            offer -> 201, answer, Location, ETag, Link
//	PATCH   /whip/<stream>/<session>  candidates -> 204, or new ICE credentials -> 200
//	DELETE  /whip/<stream>/<session>  -> 200, again as long as it is remembered
//	GET     /whip/<stream>/<session>  -> the report as JSON
//	OPTIONS both                      -> what can be sent
//
// RFC 9725 section 4.1 wants a GET answered with success and no content, and
// that is what a GET gets that does not ask for JSON (Accept) while the session
// lasts; one that has ended is no WHIP session any more, and tells its report to
// everybody who may know.
package whip
