// Package depacketize makes access units of RTP packets (RFC 3550), whoever
// carries them: RTSP and WebRTC share it. A [Receiver] is one publisher; each of
// its tracks has a [Stream] of packets, or several that show the same at
// different sizes.
//
// It owns the payload formats of all codecs, the counting of what the network
// lost, and the time of each unit: damaged units are dropped and counted,
// parameter sets stand before each key frame wherever they came from, and sender
// reports give the capture time, by [ingest.Clock].
//
// It never touches a socket, cuts no fragments and asks nobody for anything. No
// packet makes it stop or panic.
package depacketize
