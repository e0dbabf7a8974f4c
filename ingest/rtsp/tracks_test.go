package rtsp

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
)

// Parameter sets and headers made with x264, x265, libvpx and SVT-AV1.
var (
	sps320   = unhex("6764000dacd94141fb011000000300100000030320f1429960") // High, 320x240, two reordered frames
	pps320   = unhex("68ebe3cb22c0")
	vps265   = unhex("40010c01ffff01600000030090000003000003003c959409")
	sps265   = unhex("42010101600000030090000003000003003ca00a080f16595952930bc05a020000030002000003003210")
	pps265   = unhex("4401c073c189")
	av1SeqRs = unhex("08000000043cffbcfbf90040")
	vp9Key   = unhex("a2498342e013f00ef60a38241c184a000bc0")
	vp8Key   = unhex("1002009d012a4001f000" + "0011223344")
	mp3L3    = slices.Concat(unhex("fffb9064"), bytes.Repeat([]byte{7}, 413)) // MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes
)

func idr(n int) []byte   { return append([]byte{0x65, 0x88}, bytes.Repeat([]byte{0xaa}, n)...) }
func slice(n int) []byte { return append([]byte{0x41, 0x9a}, bytes.Repeat([]byte{0xbb}, n)...) }
func hevc(typ byte, n int) []byte {
	return append([]byte{typ << 1, 1, 0xaf}, bytes.Repeat([]byte{0xdd}, n)...)
}

func formatH264() *format.H264 {
	return &format.H264{PayloadTyp: 96, PacketizationMode: 1}
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func short(p [][]byte) string {
	var b strings.Builder
	for _, s := range p {
		fmt.Fprintf(&b, "[%d: %.24x]", len(s), s)
	}
	return b.String()
}

func TestUnknownFormatsAreRefusedByName(t *testing.T) {
	mjpeg := &format.MJPEG{}
	generic := &format.Generic{PayloadTyp: 98, RTPMa: "VND.ONVIF.METADATA/90000", ClockRat: 90000}
	opts := receiverOptions{Log: logTo(t)}
	opts.Description = &description.Session{Medias: []*description.Media{
		{Formats: []format.Format{mjpeg}}, {Formats: []format.Format{generic}},
	}}
	_, err := newReceiver(opts)
	for _, name := range []string{"M-JPEG", "VND.ONVIF.METADATA/90000"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v does not name %s", err, name)
		}
	}
	opts.Description.Medias = append(opts.Description.Medias, &description.Media{Formats: []format.Format{&format.VP8{PayloadTyp: 96}}})
	rx, err := newReceiver(opts)
	if err != nil || len(rx.tracks) != 1 {
		t.Errorf("the known track: %v, %v", rx, err)
	}
}
