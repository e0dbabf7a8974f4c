package rtsp

import (
	"log/slog"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"

	"github.com/kineweir/kineweir/fragments"
)

type nowhere struct{}

func (nowhere) Write(*fragments.AccessUnit) {}
func (nowhere) Lost(uint64)                 {}
func (nowhere) Jitter(int, float64)         {}
func (nowhere) Close(error)                 {}

// BenchmarkReceive makes a group of 25 frames of 2 Mbit/s video from its packets.
func BenchmarkReceive(b *testing.B) {
	f := &format.H264{PayloadTyp: 96, PacketizationMode: 1, SPS: sps320, PPS: pps320}
	enc, err := f.CreateEncoder()
	if err != nil {
		b.Fatal(err)
	}
	var group []*rtp.Packet
	for n := range 25 {
		au := [][]byte{slice(8_000)}
		if n == 0 {
			au = [][]byte{sps320, pps320, idr(50_000)}
		}
		pkts, err := enc.Encode(au)
		if err != nil {
			b.Fatal(err)
		}
		for _, p := range pkts {
			p.Timestamp = uint32(n) * 3600
		}
		group = append(group, pkts...)
	}
	now := time.Now()
	rx, err := newReceiver(receiverOptions{
		Description: &description.Session{Medias: []*description.Media{{Formats: []format.Format{f}}}},
		Log:         slog.New(slog.DiscardHandler), Now: func() time.Time { return now },
		Open: func([]*fragments.Track) (Session, error) { return nowhere{}, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(250_000)
	seq := uint16(0)
	for b.Loop() {
		for _, p := range group {
			p.SequenceNumber = seq
			seq++
			rx.packet(rx.tracks[0], p)
		}
		for _, p := range group {
			p.Timestamp += 90_000
		}
		now = now.Add(time.Second)
	}
}

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
