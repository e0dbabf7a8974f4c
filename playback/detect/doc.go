// Package detect looks at live cameras and tells what it sees: motion, by a
// built-in detector that needs no model, and whatever a detector of the user's
// finds in the pictures that it is given.
//
// It owns which cameras are watched and how, the two stages of the motion
// detector, the contract with detectors outside, and the life of an event from
// its beginning to its end. It never decodes video (package image does), never
// keeps an event (it puts records into a data stream), and never holds up a
// publisher: what it cannot look at in time it does not look at, and counts it.
//
// # Motion
//
// The first stage costs next to nothing. It compares pictures of the key frames
// alone, at about a hundredth of a core per camera, and follows the compressed
// sizes of the frames between them, which grow when something moves. Either wakes
// the second stage, which decodes some frames a second, small and grey, beginning
// with the group of pictures that is still in memory, and compares each with a
// background that it learns: how bright every pixel is and how much it wavers.
// What differs is gathered in cells, cells in regions, and a region moves when it
// also differs from the frame before. Light that goes on or off, noise, and things
// that have come to rest are no motion.
//
// Sizes tell little where noise fills the frames or a rate control keeps them
// alike. The first stage knows: where they are blunt and key frames are more than
// two seconds apart, what is short would be missed, and the second stage goes on
// all the time. Alarms that were false make it more patient.
//
// The second stage begins before what has woken it: with the group of pictures
// before the current one, which is kept in memory for it, and with the background
// as it was before the latest key frame. So an event begins with the picture that
// shows it first, not with the key frame that gave it away.
//
// # Events
//
// An event is told when it is sure, again while it lasts, and at its end, always
// with the same camera, time and id, so that the last record counts (see package
// events of the archive for the schema). Its label is "motion", or what the
// detector outside says. Its box is where it was clearest, and its score that of
// then. Its fragment is the one it began in: a picture may be decoded before the
// cutter has come to it, and the number is then put right by a later record.
package detect
