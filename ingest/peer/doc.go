// Package peer is the way in for WebRTC: each [Connection] of a [Server] is one
// publisher, a browser or an encoder, whose packets become the access units of a
// session.
//
// It owns what a WebRTC publisher needs said back: missing packets are asked for
// again, key frames are asked for so that fragments close and viewers can begin,
// the congestion of the network is reported. Of several sizes of one picture
// (simulcast) it takes the largest that flows. What the packets hold, package
// depacketize reads.
//
// It never exchanges session descriptions (package whip and the signaling do, on
// [Connection.PeerConnection]), opens no sockets (they come with Options.Engine)
// and decides no right.
package peer
