package e2e

import (
	"fmt"
	"image/jpeg"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// buildDetector builds the example of a detector.
func buildDetector(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "detector-example")
	run(t, 2*time.Minute, "go", "build", "-o", file, "github.com/kineweir/kineweir/cmd/detector-example")
	return file
}

// children returns the processes of a program that the server has started.
func (s *server) children(program string) (pids []int) {
	s.t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, file := range all {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		name, rest, _ := strings.Cut(string(text), ") ")
		f := strings.Fields(rest)
		if f[1] == strconv.Itoa(s.cmd.Process.Pid) && f[0] != "Z" && strings.HasSuffix(name, "("+program) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// running reports whether a process is there and no corpse.
func running(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// checkRed compares what the example told with when there was a red square.
func checkRed(t *testing.T, s *server, stream string, moves [][2]float64, source string) {
	t.Helper()
	list, begin := detections(t, s, stream), s.begun(stream)
	if len(list) != len(moves) {
		t.Fatalf("%d events, the square was there %d times: %+v", len(list), len(moves), list)
	}
	for i, e := range list {
		from, to := e.Time.Sub(begin).Seconds(), e.End.Sub(begin).Seconds()
		t.Logf("%s: %.2f to %.2f s, score %v, box %.2f", e.Label, from, to, e.Score, *e.Box)
		if e.Label != "red" || e.Source != source || e.Score < 0.5 || math.Abs(from-moves[i][0]) > 1 || math.Abs(to-moves[i][1]) > 1 {
			t.Errorf("told %+v, it was there %v", e, moves[i])
		}
		if b := e.Box; b == nil || math.Abs(b[1]-sceneThingTop) > 0.06 || math.Abs(b[1]+b[3]-sceneThingBottom) > 0.06 || b[2] < 0.05 || b[2] > 0.2 {
			t.Errorf("box %v is not that of the square", b)
		}
	}
	checkFragments(t, s, stream, list)
}

// TestDetectorProgram has the example run as a program, killed, and left behind.
func TestDetectorProgram(t *testing.T) {
	t.Parallel() // it waits most of the time
	moves := [][2]float64{{5, 9}, {20, 24}}
	program := buildDetector(t)
	file := scene{seconds: 40, group: sceneFPS, noise: 4, plain: true, thing: "red", moves: moves}.film(t)
	s := serve(t, fmt.Sprintf("streams:\n  door:\n    detector:\n      name: shop/red\n      command: %s --colour red\n      fps: 5\n", program))
	pushFile(t, s, "door", file)
	eventually(t, 30*time.Second, "the first square is told", func() bool {
		list := detections(t, s, "door")
		return len(list) == 1 && list[0].End.Sub(list[0].Time) > 3*time.Second
	})
	pids := s.children("detector-exampl") // as the system cuts names
	if len(pids) != 1 {
		t.Fatalf("programs %v, want one for a camera", pids)
	}
	eventually(t, 10*time.Second, "the first square is gone", func() bool { return time.Since(s.begun("door")) > 13*time.Second })
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var next []int
	eventually(t, 10*time.Second, "it is started again", func() bool {
		next = s.children("detector-exampl")
		return len(next) == 1 && next[0] != pids[0] && s.detector("door", "shop/red").State == "looking"
	})
	if st := s.detector("door", "shop/red"); st.Restarts != 1 {
		t.Errorf("%+v", st)
	}
	eventually(t, 30*time.Second, "the second square is told", func() bool {
		list := detections(t, s, "door")
		return len(list) == 2 && list[1].End.Sub(list[1].Time) > 3500*time.Millisecond
	})
	checkRed(t, s, "door", moves, "shop/red")
	if !strings.Contains(s.log.String(), "detector says: ready: looking for red in pictures of door") {
		t.Error("what the program says is not in the log")
	}
	s.kill()
	eventually(t, 10*time.Second, "the program ends with a server that was killed", func() bool { return !running(next[0]) })
	s.start()
	pushFile(t, s, "door", file)
	eventually(t, 20*time.Second, "there is a program again", func() bool {
		next = s.children("detector-exampl")
		return len(next) == 1
	})
	s.stop()
	if running(next[0]) {
		t.Error("the program goes on without its server")
	}
}

// TestDetectorService has the example asked over HTTP, and beside it a service
// that is too slow: it gets the newest picture each time.
func TestDetectorService(t *testing.T) {
	t.Parallel() // it waits most of the time
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	service := exec.Command(buildDetector(t), "--http", addr)
	out := &syncBuffer{}
	service.Stderr = out
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		service.Process.Signal(syscall.SIGTERM)
		if err := service.Wait(); err != nil {
			t.Errorf("the service ends with %v\n%s", err, out)
		}
	}()
	eventually(t, 10*time.Second, "the service listens", func() bool { return strings.Contains(out.String(), "ready") })

	slow := &slowDetector{takes: 2 * time.Second}
	slowly := httptest.NewServer(slow)
	defer slowly.Close()

	moves := [][2]float64{{6, 10}}
	file := scene{seconds: 24, group: sceneFPS, noise: 4, plain: true, thing: "red", moves: moves}.film(t)
	s := serve(t, "")
	s.put("/api/streams/door/settings", fmt.Sprintf(`{"detector":{"name":"red","url":"http://%s/","fps":5}}`, addr))
	s.put("/api/streams/slow/settings", fmt.Sprintf(`{"detector":{"name":"slow","url":%q,"fps":5}}`, slowly.URL))
	pushFile(t, s, "door", file)
	pushFile(t, s, "slow", file)
	eventually(t, 40*time.Second, "the camera is gone", func() bool {
		list := detections(t, s, "door")
		return len(list) > 0 && time.Since(list[0].End) > 4*time.Second && len(slow.list()) > 7
	})
	checkRed(t, s, "door", moves, "red")
	st := s.detector("slow", "slow")
	t.Logf("the slow one: %+v, pictures were old by %v", st, slow.list())
	for i, age := range slow.list() {
		if i > 0 && age > 1200*time.Millisecond {
			t.Errorf("picture %d was %v old", i, age)
		}
	}
	if st.Pictures < 5 || st.Skipped < 7*(st.Pictures-1) || st.Skipped > 12*(st.Pictures+1) || st.Error != "" {
		t.Errorf("of ten pictures nine are left out: %+v", st)
	}
	var settings struct{ Detector struct{ URL string } }
	if s.json("/api/streams/slow/settings", &settings); settings.Detector.URL != slowly.URL {
		t.Errorf("settings %+v", settings)
	}
}

// slowDetector notes how old the pictures are that it gets.
type slowDetector struct {
	takes time.Duration

	mu   sync.Mutex
	ages []time.Duration
}

func (d *slowDetector) list() []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]time.Duration(nil), d.ages...)
}

// ServeHTTP implements http.Handler.
func (d *slowDetector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at, err := time.Parse(time.RFC3339Nano, r.Header.Get("Kineweir-Time"))
	img, decode := jpeg.Decode(r.Body)
	if err != nil || decode != nil || img.Bounds().Dx() != 640 || r.Header.Get("Kineweir-Camera") != "slow" || len(r.Header.Get("Kineweir-Fragment")) != 47 {
		http.Error(w, fmt.Sprint(r.Header, err, decode), http.StatusBadRequest)
		return
	}
	age := time.Since(at)
	d.mu.Lock()
	d.ages = append(d.ages, age.Round(time.Millisecond))
	d.mu.Unlock()
	select {
	case <-time.After(d.takes):
	case <-r.Context().Done():
		return
	}
	io.WriteString(w, `{"detections":[]}`)
}
