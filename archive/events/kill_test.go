package events

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/archive/bucket/dir"
	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/wal"
	"github.com/kineweir/kineweir/fragments"
)

const (
	childFolder = "KINEWEIR_EVENTS_CRASH_FOLDER"
	childFirst  = "KINEWEIR_EVENTS_CRASH_FIRST"
)

func TestMain(m *testing.M) {
	if folder := os.Getenv(childFolder); folder != "" {
		fmt.Println("error", detectUntilKilled(folder))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// lane is a durable data stream of one shard.
type lane struct{ *wal.Lane }

func (l lane) Shards(context.Context, string) ([]datastream.Shard, error) {
	return []datastream.Shard{{Made: day}}, nil
}

func (l lane) Open(_ context.Context, _ string, _ uint32, start datastream.Start) (Reader, error) {
	r := &laneReader{l: l}
	if start.From == datastream.AfterSequence {
		n, err := datastream.ParseSequenceNumber(start.Sequence)
		if err != nil {
			return nil, err
		}
		r.next = n.Position().Next()
	}
	return r, nil
}

type laneReader struct {
	l    lane
	next journal.Position
}

func (r *laneReader) Next(ctx context.Context) (list []datastream.Record, end bool, err error) {
	if err := r.l.Wait(ctx, r.next); err != nil {
		return nil, false, err
	}
	for e, err := range r.l.Read(r.next) {
		if err != nil {
			return nil, false, err
		}
		r.next = e.Next()
		list = append(list, datastream.Record{
			Data:     append([]byte(nil), e.Payload...),
			Sequence: datastream.SequenceNumber{ShardMade: day.Unix(), Index: datastream.IndexOf(e.Position), Arrived: day.Unix()},
		})
		if len(list) == 100 {
			break
		}
	}
	return list, false, nil
}

// forever says that there is video of all time.
type forever struct{}

func (forever) Stream(name fragments.StreamName) (archive.StreamInfo, error) {
	return archive.StreamInfo{Name: name, First: &archive.Entry{Producer: fragments.ProducerTime(day.Add(-24 * time.Hour))}}, nil
}

// openAll opens store and stream so that blocks are written all the time.
func openAll(folder string) (*Store, lane, error) {
	b, err := dir.Open(filepath.Join(folder, "bucket"))
	if err != nil {
		return nil, lane{}, err
	}
	s, err := Open(context.Background(), Options{
		Dir: filepath.Join(folder, "data"), Bucket: b, Videos: forever{}, Tick: 2 * time.Millisecond, Settle: 5 * time.Millisecond, MemBytes: 100_000,
	})
	if err != nil {
		return nil, lane{}, err
	}
	l, err := openLane(folder)
	return s, lane{l}, err
}

// detectUntilKilled is the child: it puts detections, and other things, into the
// stream, tells each once it is durable there, and pumps.
func detectUntilKilled(folder string) error {
	s, l, err := openAll(folder)
	if err != nil {
		return err
	}
	if _, err := NewPump(PumpOptions{Source: l, Store: s, Stream: "d", SaveEvery: 5 * time.Millisecond}); err != nil {
		return err
	}
	first, err := strconv.Atoi(os.Getenv(childFirst))
	for i := first; err == nil; i++ {
		var data []byte
		d := seen(fragments.StreamName("abc"[i%3:i%3+1]), i, float64(i*20), "x")
		if i%4 == 0 {
			d.ID = ""
		}
		if data, err = json.Marshal(d); err != nil {
			break
		}
		l.Append(1, "", []byte(`{"v":1,"type":"fragment"}`))
		if _, err = l.Append(1, "", data).Wait(context.Background()); err == nil {
			os.Stdout.WriteString(strconv.Itoa(i) + "\n")
		}
	}
	return err
}

// TestKill kills a process that pumps, again and again, at any moment. In the end
// every detection is found, once.
func TestKill(t *testing.T) {
	const iterations = 12
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d iterations, seed %d", iterations, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	folder := t.TempDir()
	acked := map[int]bool{}
	for i := range iterations {
		killOnce(t, folder, i*100_000, time.Duration(random.IntN(250))*time.Millisecond, acked)
	}
	s, l, err := openAll(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	defer s.Close(context.Background())
	p := newPump(t, l, s)
	inStream := map[string]bool{} // by time, which is different for each
	for e, err := range l.Read(journal.Position{}) {
		if err != nil {
			t.Fatal(err)
		}
		if d, err := Parse(e.Payload); err == nil {
			inStream[d.Time.String()] = true
		}
	}
	until(t, "the rest", func() bool {
		return s.Stats().Detections >= int64(len(inStream)) && len(found(t, s, Query{Limit: MaxLimit})) == len(inStream)
	})
	p.Close(context.Background())
	seenTimes := map[string]bool{}
	for _, d := range found(t, s, Query{Limit: MaxLimit}) {
		if at := d.Time.String(); seenTimes[at] || !inStream[at] {
			t.Errorf("%+v is found twice, or was never put", d)
		}
		seenTimes[d.Time.String()] = true
	}
	for i := range acked {
		d := seen("", i, float64(i*20), "")
		if !seenTimes[d.Time.String()] {
			t.Errorf("%d was acknowledged and is not found", i)
		}
	}
	t.Logf("%d detections acknowledged, %d found, %+v", len(acked), len(seenTimes), s.Stats())
	if len(acked) < 100 {
		t.Fatalf("only %d were put: nothing was tested", len(acked))
	}
}

func killOnce(t *testing.T, folder string, first int, after time.Duration, acked map[int]bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childFolder+"="+folder, fmt.Sprintf("%s=%d", childFirst, first))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for began := false; lines.Scan(); began = true {
		if !began {
			time.AfterFunc(after, func() { cmd.Process.Kill() })
		}
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			cmd.Process.Kill()
			t.Fatal(lines.Text())
		}
		acked[n] = true
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended by itself: %v", err)
	}
}

func openLane(folder string) (*wal.Lane, error) {
	return wal.Open(filepath.Join(folder, "stream"), wal.Options{ReserveBytes: -1})
}
