// Package clip makes one MP4 file of a span of a stream: a progressive one, its
// index (moov) before its media (mdat), that downloads with a known length,
// plays while it downloads and opens everywhere.
//
// A clip is never written down. Its layout is: which samples there are, how
// long and how large, read from the moof boxes of the archive alone; the media
// is read, fragment by fragment, when and where somebody reads the clip. So the
// length of a clip costs memory for its sample tables, some bytes per frame,
// and nothing else, and any part of it can be had at once.
//
// It begins at the frame of its start by an edit list, with the media from the
// key frame before; time in it is true: where nothing was recorded, the last
// frame is held. Nothing is transcoded.
//
// The package serves no HTTP (package web/media does) and knows no rights.
package clip
