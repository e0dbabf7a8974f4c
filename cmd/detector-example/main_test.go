package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// photo is a grey picture with rectangles of colours in it.
func photo(patches map[image.Rectangle]color.Color) []byte {
	img := image.NewRGBA(image.Rect(0, 0, 320, 180))
	draw.Draw(img, img.Bounds(), image.NewUniform(color.Gray{120}), image.Point{}, draw.Src)
	for r, c := range patches {
		draw.Draw(img, r, image.NewUniform(c), image.Point{}, draw.Src)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

var (
	red    = color.RGBA{220, 30, 30, 255}
	blue   = color.RGBA{30, 30, 220, 255}
	square = image.Rect(160, 40, 224, 104)
)

func TestFind(t *testing.T) {
	for _, tc := range []struct {
		name    string
		colour  string
		patches map[image.Rectangle]color.Color
		want    []image.Rectangle
	}{
		{"nothing", "red", nil, nil},
		{"a red square", "red", map[image.Rectangle]color.Color{square: red}, []image.Rectangle{square}},
		{"a blue square", "red", map[image.Rectangle]color.Color{square: blue}, nil},
		{"a blue square is wanted", "blue", map[image.Rectangle]color.Color{square: blue}, []image.Rectangle{square}},
		{"too small", "red", map[image.Rectangle]color.Color{image.Rect(0, 0, 16, 16): red}, nil},
		{"two", "red", map[image.Rectangle]color.Color{image.Rect(0, 0, 64, 64): red, square.Add(image.Pt(32, 64)): red}, []image.Rectangle{image.Rect(0, 0, 64, 64), square.Add(image.Pt(32, 64))}},
		{"at the edge", "red", map[image.Rectangle]color.Color{image.Rect(256, 120, 320, 180): red}, []image.Rectangle{image.Rect(256, 120, 320, 180)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := colours()[tc.colour]
			c.name = tc.colour
			d := &detector{colour: c, least: 0.01}
			a, err := d.look(bytes.NewReader(photo(tc.patches)))
			if err != nil || len(a.Detections) != len(tc.want) {
				t.Fatalf("%+v, %v", a, err)
			}
			for i, w := range tc.want {
				got := a.Detections[i]
				want := [4]float64{float64(w.Min.X) / 320, float64(w.Min.Y) / 180, float64(w.Dx()) / 320, float64(w.Dy()) / 180}
				for k := range want {
					if math.Abs(got.Box[k]-want[k]) > 0.001 {
						t.Errorf("box %v, want %v", got.Box, want)
					}
				}
				if got.Label != tc.colour || got.Score < 0.9 || got.Score > 1 {
					t.Errorf("%+v", got)
				}
			}
		})
	}
}

func TestProgram(t *testing.T) {
	var in, out, log bytes.Buffer
	for _, p := range [][]byte{photo(nil), photo(map[image.Rectangle]color.Color{square: red})} {
		fmt.Fprintf(&in, `{"camera":"door","time":"2026-11-23T16:10:01.48Z","type":"image/jpeg","width":320,"height":180,"bytes":%d}`+"\n%s", len(p), p)
	}
	if err := run(t.Context(), nil, &in, &out, &log); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || lines[0] != `{"detections":[]}` || !strings.Contains(lines[1], `"label":"red"`) {
		t.Errorf("answers %q", lines)
	}
	for _, bad := range []string{"hello\n", "{\"bytes\":5}\nabcde", "{\"type\":\"image/jpeg\",\"bytes\":99999999}\n", "{\"type\":\"image/jpeg\",\"bytes\":5}\nabc", "{\"type\":\"image/jpeg\",\"bytes\":5}\nabcde", "{"} {
		if err := run(t.Context(), nil, strings.NewReader(bad), io.Discard, io.Discard); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if err := run(t.Context(), []string{"--colour", "plaid"}, strings.NewReader(""), io.Discard, io.Discard); err == nil {
		t.Error("plaid is a colour")
	}
}

func TestService(t *testing.T) {
	d := &detector{colour: colour{"red", -20, 20}, least: 0.01}
	srv := httptest.NewServer(d.handler())
	defer srv.Close()
	post := func(body []byte) (int, string) {
		res, err := http.Post(srv.URL, "image/jpeg", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(text)
	}
	if code, text := post(photo(nil)); code != http.StatusNoContent {
		t.Errorf("nothing: %d %s", code, text)
	}
	code, text := post(photo(map[image.Rectangle]color.Color{square: red}))
	var a answer
	if err := json.Unmarshal([]byte(text), &a); err != nil || code != http.StatusOK || len(a.Detections) != 1 {
		t.Errorf("a square: %d %s", code, text)
	}
	if code, _ := post([]byte("no picture")); code != http.StatusBadRequest {
		t.Errorf("no picture: %d", code)
	}
	if res, err := http.Get(srv.URL); err != nil || res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %v %v", res, err)
	}
}

// A service that is being asked by several cameras does one picture at a time.
func TestServiceBusy(t *testing.T) {
	d := &detector{colour: colour{"red", -20, 20}, least: 0.01, delay: 200 * time.Millisecond}
	srv := httptest.NewServer(d.handler())
	defer srv.Close()
	codes := make(chan int, 12)
	for range cap(codes) {
		go func() {
			res, err := http.Post(srv.URL, "image/jpeg", bytes.NewReader(photo(nil)))
			if err != nil {
				codes <- 0
				return
			}
			res.Body.Close()
			codes <- res.StatusCode
		}()
	}
	count := map[int]int{}
	for range cap(codes) {
		count[<-codes]++
	}
	if count[204] < 5 || count[503] < 2 || count[204]+count[503] != cap(codes) {
		t.Errorf("answers by status: %v", count)
	}
}
