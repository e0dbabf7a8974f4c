package rtsp

import (
	"testing"
	"time"
)

// BenchmarkPacketize makes the packets of the same for one player.
func BenchmarkPacketize(b *testing.B) {
	pz, err := newPacketizer(videoTrack, 96)
	if err != nil {
		b.Fatal(err)
	}
	au := movie(1, time.Now())
	au.Payload = [][]byte{slice(8_000)}
	b.ReportAllocs()
	b.SetBytes(8_000)
	for b.Loop() {
		if _, err := pz.packetize(au); err != nil {
			b.Fatal(err)
		}
	}
}
