// Package auth knows the users: who they are, what they may do, and the tokens
// that carry a right to somebody who has no name here.
//
// It owns the credentials file (read, checked, followed when it changes; made
// at the first start that needs one), the rights (publish and view by pattern
// of stream names, admin, metrics), the ways an HTTP request proves who sent it
// (Basic, Bearer, the console's cookie, a token in the URL), session tokens and
// their revocation, and the slowing down of guesses.
//
// It never stores a secret anywhere but in the credentials file, never logs
// one, and never decides what a route needs: the routes ask.
//
// # The credentials file
//
//	users:
//	  admin:
//	    keys:                   # for programs, and for the sign-in form
//	      - {id: KWEXAMPLE, secret: at-least-16-characters}
//	    admin: true             # the whole API, and every stream
//	  front-door-camera:
//	    password: at-least-8    # for RTSP, Basic and the sign-in form
//	    publish: [front-door, front-door-*]
//	  family:
//	    password: at-least-8
//	    view: ["*"]
//	anonymous:                  # whoever gives no name
//	  view: [lobby]
//
// Secrets stand there as they are, because RTSP Digest and signed requests
// cannot be checked against a hash; the file must be readable by its owner only.
package auth
