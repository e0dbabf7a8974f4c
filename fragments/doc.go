// Package fragments holds the nouns of video and the one cutter of it.
//
// The nouns are plain types without I/O that every other package may import:
// [StreamName], [Track], [AccessUnit], [Part], [Fragment], [Number],
// [ProducerTimestamp], [ServerTimestamp] and [Selector].
//
// The cutter is the [Fragmenter]: access units go in, parts and fragments come
// out. It is pure and deterministic; the same access units give the same
// fragments whatever the timing of the packets that carried them. It decides
// alone where fragments and parts begin, and nothing it is fed makes it fail:
// broken time stamps are cut, marked and passed.
//
// The package never reads a clock, a file or a socket, and never imports
// another top folder of the project.
package fragments
