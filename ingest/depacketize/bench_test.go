package depacketize

import (
	"log/slog"
	"testing"
	"time"

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
	rx := New(Options{
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now },
		Open: func([]*fragments.Track) (Session, error) { return nowhere{}, nil },
	})
	stream, err := rx.Add(f, 0)
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
			stream.Packet(p)
		}
		for _, p := range group {
			p.Timestamp += 90_000
		}
		now = now.Add(time.Second)
	}
}
