package console

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// browser is a headless Chromium, spoken to by the DevTools protocol.
type browser struct {
	conn *websocket.Conn

	mu      sync.Mutex // guards the fields below, and writing to conn
	next    int
	waiting map[int]chan reply
	pages   map[string]*page // by session
}

type reply struct {
	result json.RawMessage
	err    error
}

// page is one tab.
type page struct {
	b       *browser
	t       *testing.T
	session string
	id      string

	mu       sync.Mutex // guards the fields below
	troubles []string   // errors, exceptions and breaches of the content policy
	requests []string   // URLs
	deleted  []string   // likewise
}

// startBrowser starts Chromium for the length of the test.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("chromium is needed: apt-get install chromium: %v", err)
	}
	// Not t.TempDir: Chromium may still write while it is being removed.
	profile, err := os.MkdirTemp("", "kineweir-console")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		// Tabs of other tests lie in front of one; they are to work as if they were seen.
		"--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding", "--disable-background-media-suspend",
		"--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--allow-loopback-in-peer-connection",
		"--mute-audio", "--autoplay-policy=no-user-gesture-required",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-port=0", "--user-data-dir="+profile, "about:blank")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		for range 20 {
			if os.RemoveAll(profile) == nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	address := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			if _, url, ok := strings.Cut(lines.Text(), "DevTools listening on "); ok {
				address <- url
			}
		}
	}()
	select {
	case url := <-address:
		conn, _, err := websocket.DefaultDialer.Dial(url, nil)
		if err != nil {
			t.Fatal(err)
		}
		b := &browser{conn: conn, waiting: map[int]chan reply{}, pages: map[string]*page{}}
		t.Cleanup(func() { _ = conn.Close() })
		go b.read()
		return b
	case <-time.After(30 * time.Second):
		t.Fatal("chromium did not start within 30 s")
	}
	return nil
}

func (b *browser) read() {
	for {
		var m struct {
			ID      int             `json:"id"`
			Session string          `json:"sessionId"`
			Method  string          `json:"method"`
			Params  json.RawMessage `json:"params"`
			Result  json.RawMessage `json:"result"`
			Error   *struct{ Message string }
		}
		if err := b.conn.ReadJSON(&m); err != nil {
			b.mu.Lock()
			for _, w := range b.waiting {
				w <- reply{err: err}
			}
			clear(b.waiting)
			b.mu.Unlock()
			return
		}
		b.mu.Lock()
		w, p := b.waiting[m.ID], b.pages[m.Session]
		delete(b.waiting, m.ID)
		b.mu.Unlock()
		switch {
		case w != nil && m.Error != nil:
			w <- reply{err: errors.New(m.Error.Message)}
		case w != nil:
			w <- reply{result: m.Result}
		case p != nil:
			p.event(m.Method, m.Params)
		}
	}
}

func (b *browser) call(session, method string, params any) (json.RawMessage, error) {
	w := make(chan reply, 1)
	b.mu.Lock()
	b.next++
	b.waiting[b.next] = w
	err := b.conn.WriteJSON(map[string]any{"id": b.next, "sessionId": session, "method": method, "params": params})
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case r := <-w:
		return r.result, r.err
	case <-time.After(30 * time.Second):
		return nil, fmt.Errorf("%s: no answer within 30 s", method)
	}
}

// open opens a tab of its own: other cookies, other storage.
func (b *browser) open(t *testing.T, url string) *page {
	t.Helper()
	must := func(raw json.RawMessage, err error) map[string]string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]string{}
		_ = json.Unmarshal(raw, &m)
		return m
	}
	context := must(b.call("", "Target.createBrowserContext", map[string]any{}))["browserContextId"]
	id := must(b.call("", "Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": context, "newWindow": true}))["targetId"]
	p := &page{b: b, t: t, id: id}
	p.session = must(b.call("", "Target.attachToTarget", map[string]any{"targetId": id, "flatten": true}))["sessionId"]
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log", "Network", "Audits"} {
		p.call(domain+".enable", nil)
	}
	p.call("Emulation.setFocusEmulationEnabled", map[string]any{"enabled": true}) // tabs beside it have the focus too
	p.size(1440, 900)
	p.theme("dark")
	p.call("Page.navigate", map[string]any{"url": url})
	t.Cleanup(func() {
		if t.Failed() {
			p.shot(filepath.Join(os.TempDir(), "kineweir-console-failed-"+strings.ReplaceAll(t.Name(), "/", "-")+".png"))
		}
		_, _ = b.call("", "Target.disposeBrowserContext", map[string]any{"browserContextId": context})
	})
	return p
}

func (p *page) call(method string, params any) json.RawMessage {
	p.t.Helper()
	if params == nil {
		params = map[string]any{}
	}
	r, err := p.b.call(p.session, method, params)
	if err != nil {
		p.t.Fatalf("%s: %v", method, err)
	}
	return r
}

func (p *page) event(method string, params json.RawMessage) {
	var e struct {
		Entry            struct{ Level, Text, URL string }
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
		Request struct{ URL, Method string }
		Issue   struct{ Code string }
	}
	_ = json.Unmarshal(params, &e)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch method {
	case "Runtime.exceptionThrown":
		p.troubles = append(p.troubles, e.ExceptionDetails.Text+" "+e.ExceptionDetails.Exception.Description)
	case "Log.entryAdded":
		if e.Entry.Level == "error" {
			p.troubles = append(p.troubles, e.Entry.Text+" "+e.Entry.URL)
		}
	case "Audits.issueAdded":
		if strings.Contains(e.Issue.Code, "ContentSecurityPolicy") {
			p.troubles = append(p.troubles, e.Issue.Code+" "+string(params))
		}
	case "Network.requestWillBeSent":
		p.requests = append(p.requests, e.Request.URL)
		if e.Request.Method == "DELETE" {
			p.deleted = append(p.deleted, e.Request.URL)
		}
	}
}

// eval runs JavaScript and decodes its value; promises are awaited.
func (p *page) eval(into any, script string) {
	p.t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Exception struct{ Description string }
		}
	}
	raw := p.call("Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true, "awaitPromise": true, "userGesture": true})
	if err := json.Unmarshal(raw, &r); err != nil {
		p.t.Fatal(err)
	}
	if r.ExceptionDetails != nil {
		p.t.Fatalf("%s: %s", script, r.ExceptionDetails.Exception.Description)
	}
	if into != nil {
		if err := json.Unmarshal(r.Result.Value, into); err != nil {
			p.t.Fatalf("%s gave %s: %v", script, r.Result.Value, err)
		}
	}
}

func (p *page) text(script string) string {
	p.t.Helper()
	var s string
	p.eval(&s, script)
	return s
}

// videoState tells of the video what helps to see why it does not play.
const videoState = `(() => { const v = document.querySelector('video'); return v ? JSON.stringify({at: v.currentTime, paused: v.paused, ready: v.readyState, rate: v.playbackRate, hidden: document.hidden,
	buffered: [...Array(v.buffered.length).keys()].map(i => [v.buffered.start(i), v.buffered.end(i)]), stage: {...document.querySelector('.stage').dataset}}) : "none"; })()`

// wait waits until a condition holds in the page.
func (p *page) wait(what, condition string) {
	p.t.Helper()
	for end := time.Now().Add(45 * time.Second); ; {
		var ok bool
		p.eval(&ok, "(() => { try { return Boolean("+condition+"); } catch { return false; } })()") // the view may not be there yet
		if ok {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s did not happen within 45 s; the page says: %.600s\nits video: %s\ntroubles: %v", what, p.text("document.body.innerText"), p.text(videoState), p.troubles)
		}
		time.Sleep(40 * time.Millisecond)
	}
}

func (p *page) size(width, height int) {
	p.t.Helper()
	p.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
}

func (p *page) theme(name string) {
	p.t.Helper()
	p.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": name}}})
}

// key presses a key as a person would.
func (p *page) key(key string) {
	p.t.Helper()
	params := map[string]any{"type": "keyDown", "key": key}
	if code := map[string]int{"Escape": 27, "ArrowLeft": 37, "ArrowRight": 39, "Enter": 13, "Tab": 9, " ": 32}[key]; code != 0 {
		params["windowsVirtualKeyCode"] = code
	}
	if len(key) == 1 {
		params["text"] = key
	} else if key == "Enter" {
		params["text"] = "\r"
	}
	p.call("Input.dispatchKeyEvent", params)
	params["type"] = "keyUp"
	delete(params, "text")
	p.call("Input.dispatchKeyEvent", params)
}

func (p *page) typeText(selector, text string) {
	p.t.Helper()
	p.eval(nil, "document.querySelector("+quote(selector)+").focus()")
	p.call("Input.insertText", map[string]any{"text": text})
}

// click clicks into an element, at a share of its width.
func (p *page) click(selector string, share float64) {
	p.t.Helper()
	p.clickAt(selector, share, 0.6)
}

// clickAt clicks into an element, at shares of its width and height.
func (p *page) clickAt(selector string, x, y float64) {
	p.t.Helper()
	p.drag(selector, [2]float64{x, y})
}

// drag presses the button at the first place in an element, moves to the others,
// and lets go.
func (p *page) drag(selector string, places ...[2]float64) {
	p.t.Helper()
	var r struct{ X, Y, Width, Height float64 }
	p.eval(&r, "(() => { const e = document.querySelector("+quote(selector)+"); e.scrollIntoView({block: 'nearest'}); const r = e.getBoundingClientRect(); return {X: r.x, Y: r.y, Width: r.width, Height: r.height}; })()")
	send := func(kind string, at [2]float64, buttons int) {
		p.call("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": r.X + r.Width*at[0], "y": r.Y + r.Height*at[1], "button": "left", "buttons": buttons, "clickCount": 1})
	}
	send("mouseMoved", places[0], 0)
	send("mousePressed", places[0], 1)
	for _, at := range places[1:] {
		send("mouseMoved", at, 1)
	}
	send("mouseReleased", places[len(places)-1], 0)
}

// hover moves the pointer onto an element.
func (p *page) hover(selector string) {
	p.t.Helper()
	var at struct{ X, Y float64 }
	p.eval(&at, "(() => { const r = document.querySelector("+quote(selector)+").getBoundingClientRect(); return {X: r.x + r.width / 2, Y: r.y + r.height / 3}; })()")
	p.call("Input.dispatchMouseEvent", map[string]any{"type": "mouseMoved", "x": at.X, "y": at.Y})
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// shot saves what the page looks like.
func (p *page) shot(name string) {
	p.t.Helper()
	var r struct{ Data string }
	if err := json.Unmarshal(p.call("Page.captureScreenshot", map[string]any{"format": "png"}), &r); err != nil {
		p.t.Fatal(err)
	}
	data, err := base64.StdEncoding.DecodeString(r.Data)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		p.t.Fatal(err)
	}
	p.t.Logf("picture: %s", name)
}
