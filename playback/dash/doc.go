// Package dash tells of the archive as MPEG-DASH does (ISO/IEC 23009-1): one
// manifest of a stream, live with a rewind window or of any range of the past.
//
// It owns the manifest alone. Rows, segments and their names are those of package
// hls: the same URLs and bytes, so that what one player has fetched is cached for
// all. A stretch of rows without a break is a Period. Its start is when its first
// picture was captured, so that availabilityStartTime plus presentation time is
// the capture time of every frame: live, where availabilityStartTime is 1970, the
// position of a player is the Unix time of what it shows. Holes in time are holes
// between Periods. Live, a producer whose clock is far off is told of by the
// server's: players could not find the live edge otherwise.
//
// Segments are in a SegmentList with a SegmentTimeline, for they are named by
// fragment and not by time. Within a Period the time line has neither holes nor
// overlaps, and no repeated S elements: players count them as one URL.
//
// The package serves no HTTP (package web/media does), knows no rights, and keeps
// nothing but where the Periods of live streams begin, which can be lost: players
// then see new Periods at the same times.
package dash
