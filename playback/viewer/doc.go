// Package viewer shows live streams over WebRTC: one feed per stream, any
// number of viewers.
//
// A feed subscribes to package fragments/live while it has viewers. It cuts
// each access unit into RTP payloads once; those are read-only and shared by
// all viewers, by the late joiner who begins at the newest key frame, and by
// retransmission. What is a viewer's own is small: a position in the feed,
// sequence numbers, a time base and a peer connection. A viewer whose link is
// slow or loses much gets key frames only, alone, as fast as its link was found
// to carry, until it is better; it never holds up the feed or another viewer.
//
// The package owns the choice of codecs from an offer, RTP and RTCP. Nothing is
// transcoded: what WebRTC does not carry is left out or refused by name. It
// never speaks HTTP (package web/whip does) and never touches the archive.
package viewer
