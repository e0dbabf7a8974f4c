// Package cmaf writes and reads fragments as CMAF: fragmented MP4 in which each
// part is one moof and one mdat box of a single track (ISO/IEC 14496-12,
// ISO/IEC 23000-19).
//
// It owns the layout of parts ([AppendPart], [Parts], [Rebase]), of the
// initialisation segment of every codec the project knows and of those it does
// not ([InitSegment], [ParseInit]), the boxes around them ([Boxes],
// [AppendUUIDBox], [AppendPrft]), what a player is told of a codec
// ([CodecString], [Playable]), and the conversion of G.711 and linear PCM to
// FLAC ([FLACTrack], [FLACRun]).
//
// It works on bytes in memory and on an io.ReaderAt it is given. It never opens
// a file, reads a clock or keeps state between calls, and its readers never
// allocate by a length they have not checked against what is there.
package cmaf
