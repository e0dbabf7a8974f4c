package cmaf

import (
	"fmt"

	"github.com/kineweir/kineweir/fragments"
)

// PlaysAsFLAC reports whether t is of a codec that players want as FLAC.
func PlaysAsFLAC(t *fragments.Track) bool {
	switch t.Codec {
	case fragments.PCMU, fragments.PCMA, fragments.LPCM:
		return true
	}
	return false
}

// flacable returns an *UnsupportedError when FLAC cannot carry t.
func flacable(t *fragments.Track) error {
	switch {
	case !PlaysAsFLAC(t):
		return &UnsupportedError{t.Codec, "it is not converted to FLAC"}
	case t.Channels < 1 || t.Channels > 8:
		return &UnsupportedError{t.Codec, fmt.Sprintf("FLAC has 1 to 8 channels, not %d", t.Channels)}
	case t.SampleRate < 1 || t.SampleRate > 1<<20-1:
		return &UnsupportedError{t.Codec, fmt.Sprintf("FLAC has no sample rate of %d Hz", t.SampleRate)}
	case t.Codec == fragments.LPCM && t.BitDepth != 8 && t.BitDepth != 16 && t.BitDepth != 24:
		return &UnsupportedError{t.Codec, fmt.Sprintf("linear PCM of %d bits is not converted to FLAC", t.BitDepth)}
	}
	return nil
}
