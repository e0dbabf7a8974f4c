package cmaf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Rebase adds delta ticks to the decode time (tfdt) of every moof in data, in
// place and without allocating. data holds whole boxes; those that are no moof
// are left as they are. On an error, which is a *FormatError, the moofs before
// the one at fault have been changed.
func Rebase(data []byte, delta int64) error {
	for at := 0; at < len(data); {
		// The common case by hand: this runs for every byte range that is served.
		if len(data)-at >= boxHeader {
			size := int(binary.BigEndian.Uint32(data[at:]))
			typ := binary.BigEndian.Uint32(data[at+4:])
			if typ == 'm'<<24|'o'<<16|'o'<<8|'f' && size >= runAt && size <= len(data)-at && hasPlainTfdt(data[at:]) {
				if ferr := shiftTfdt(data[at+tfdtAt-4:at+tfdtAt+8], at+tfdtAt-12, delta); ferr != nil {
					return ferr
				}
				at += size
				continue
			}
		}
		h, ferr := parseBoxHeader(data[at:], int64(at), int64(len(data)))
		if ferr != nil {
			return ferr
		}
		if h.Type == "moof" {
			if ferr := rebaseMoof(data[:h.End()], int(h.Payload()), delta); ferr != nil {
				return ferr
			}
		}
		at = int(h.End())
	}
	return nil
}

// hasPlainTfdt reports whether the moof has the layout that AppendPart writes.
func hasPlainTfdt(moof []byte) bool {
	return string(moof[24+4:24+8]) == "traf" && string(moof[48:60]) == "\x00\x00\x00\x14tfdt\x01\x00\x00\x00" &&
		int(binary.BigEndian.Uint32(moof[24:])) == int(binary.BigEndian.Uint32(moof))-24
}

// rebaseMoof shifts every tfdt of every traf among the boxes of data from at on.
func rebaseMoof(data []byte, at int, delta int64) *FormatError {
	for at < len(data) {
		h, ferr := childHeader(data, at)
		if ferr == nil && h.Type == "traf" {
			ferr = rebaseTraf(data[:h.End()], int(h.Payload()), delta)
		}
		if ferr != nil {
			return ferr
		}
		at = int(h.End())
	}
	return nil
}

func rebaseTraf(data []byte, at int, delta int64) *FormatError {
	for at < len(data) {
		h, ferr := childHeader(data, at)
		if ferr == nil && h.Type == "tfdt" {
			ferr = shiftTfdt(data[h.Payload():h.End()], at, delta)
		}
		if ferr != nil {
			return ferr
		}
		at = int(h.End())
	}
	return nil
}

// shiftTfdt adds delta to the decode time in the body of a tfdt box at offset
// at.
func shiftTfdt(b []byte, at int, delta int64) *FormatError {
	switch {
	case len(b) >= 12 && b[0] == 1:
		v := binary.BigEndian.Uint64(b[4:])
		sum := int64(v) + delta
		if v > math.MaxInt64 || sum < 0 {
			return &FormatError{Offset: int64(at), Box: "tfdt", Reason: fmt.Sprintf("decode time %d and %d is out of range", v, delta)}
		}
		binary.BigEndian.PutUint64(b[4:], uint64(sum))
	case len(b) >= 8 && b[0] == 0:
		v := binary.BigEndian.Uint32(b[4:])
		sum := int64(v) + delta
		if sum < 0 || sum > math.MaxUint32 {
			return &FormatError{Offset: int64(at), Box: "tfdt", Reason: fmt.Sprintf("decode time %d and %d is out of range", v, delta)}
		}
		binary.BigEndian.PutUint32(b[4:], uint32(sum))
	default:
		return &FormatError{Offset: int64(at), Box: "tfdt", Reason: "too short, or of an unknown version"}
	}
	return nil
}
