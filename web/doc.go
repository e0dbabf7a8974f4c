// Package web is the front door: the listeners, TLS, the table of routes and
// what holds for all of them, whoever answers.
//
// It owns the request log (no token and no secret ever stands in it), the
// recovery of a panicking handler for its one client, the time limits of
// connections, the rules of origin (which web pages a browser may let talk to
// us, and which names of this server are believed), the security headers, the
// shape of an error answer, and /healthz. It never knows what a stream is, who
// a user is, or what a route means: those are the packages below it in this
// folder, which hand in their [Route]s.
package web
