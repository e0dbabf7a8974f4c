// Package rtsp is the way in and out for RTSP (RFC 2326): [Server] takes streams
// that publishers push and gives live streams to players; [Cameras] pulls
// streams from cameras and reconnects for ever; [Publisher] pushes, for the
// demonstration and for tests.
//
// It owns the connections, the repair of session descriptions and the making of
// RTP packets. What comes in as packets, package depacketize makes access units of.
//
// It never cuts fragments, writes nothing to disk and decides no right: access
// units go to a [Session], rights come from an [ingest.Authenticator]. No packet,
// session description or answer of the other side makes it stop or panic.
package rtsp
