// Package image makes still pictures of a stream: of any instant of the
// archive, of the newest one, of every so many milliseconds of a span, and, for
// detectors, a steady flow of raw frames of what is live.
//
// It decodes nothing itself: the ffmpeg that is installed does, one process for
// a picture or a handful of them ([Maker.Picture], [Maker.Pictures]), one for as
// long as somebody watches ([Maker.Watch]). It owns these processes: how many
// there are and how many wait, their limits of time and memory, what they get to
// read, that they are gone when nobody needs them, and that one that fails or
// hangs harms nobody else. It owns which frame belongs to an instant, and a
// small cache of what was made.
//
// What a process is fed is an MP4 file written here, in which only the payload
// of frames comes from outside; it can open no file and no connection. Frames
// are numbered in it by their presentation time stamps, and ffmpeg tells the
// number of each picture it gives back, so that a frame it drops is missing and
// not mistaken for another.
//
// The package serves no HTTP (package web/media does), knows no rights, and
// never writes to the archive.
package image
