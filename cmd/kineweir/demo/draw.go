//go:build ignore

// Draw makes the clips that "kineweir demo" plays, by drawing every frame and
// encoding them with ffmpeg. Each clip is eight seconds long and ends where it
// began, in picture and sound. Run it in this folder: go run draw.go canvas.go
package main

import (
	"encoding/binary"
	"fmt"
	"log"
	"math"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	seconds = 8
	rate    = 15
)

// scene draws one frame; p runs from 0 to 1 over the loop.
type scene struct {
	name  string
	draw  func(c *canvas, p float64)
	x264  string
	sound func(t float64) float64 // of the AAC track; nil for none
}

func main() {
	dir, err := os.MkdirTemp("", "draw-*")
	check(err)
	defer os.RemoveAll(dir)
	for _, s := range []scene{
		{"front-door", frontDoor, "-tune zerolatency -bf 0 -crf 27", chime},
		{"yard", yard, "-bf 2 -b_strategy 0 -crf 28", nil},
		{"loading-dock", loadingDock, "-tune zerolatency -bf 0 -crf 27", nil},
	} {
		video := filepath.Join(dir, "v.mp4")
		encode(s, video)
		args := []string{"-i", video}
		if s.sound != nil {
			args = append(args, "-i", encodeAAC(dir, s.sound))
		}
		args = append(args, "-c", "copy", "-fflags", "+bitexact", "-movflags", "+faststart", s.name+".mp4")
		ffmpeg(nil, args...)
	}
	check(os.WriteFile("loading-dock.pcmu", muLaw(machine, 8000), 0o644))
}

func encode(s scene, file string) {
	frames := make([]byte, 0, seconds*rate*width*height*3)
	for i := range seconds * rate {
		c := newCanvas()
		s.draw(c, float64(i)/(seconds*rate))
		frames = append(frames, c.shrink()...)
	}
	args := []string{
		"-f", "rawvideo", "-pix_fmt", "rgb24", "-s", fmt.Sprintf("%dx%d", width, height), "-r", fmt.Sprint(rate), "-i", "-",
		"-c:v", "libx264", "-pix_fmt", "yuv420p", "-preset", "veryslow", "-g", fmt.Sprint(2 * rate), "-keyint_min", fmt.Sprint(2 * rate), "-sc_threshold", "0",
		"-bsf:v", "filter_units=remove_types=6", "-fflags", "+bitexact",
	}
	args = append(append(args, strings.Fields(s.x264)...), file)
	ffmpeg(frames, args...)
}

// encodeAAC encodes the sound three times over and keeps the middle, which a
// decoder joins to itself without a seam: 375 frames of 1024 samples are 8 s.
func encodeAAC(dir string, sound func(float64) float64) string {
	long, middle := filepath.Join(dir, "long.m4a"), filepath.Join(dir, "middle.m4a")
	var pcm []byte
	for i := range 3 * seconds * 48000 {
		pcm = binary.LittleEndian.AppendUint16(pcm, uint16(int16(32000*sound(float64(i)/48000))))
	}
	ffmpeg(pcm, "-f", "s16le", "-ar", "48000", "-ac", "1", "-i", "-", "-c:a", "aac", "-b:a", "32k", "-fflags", "+bitexact", long)
	ffmpeg(nil, "-ss", fmt.Sprint(seconds), "-i", long, "-t", fmt.Sprint(seconds), "-c", "copy", "-fflags", "+bitexact", middle)
	return middle
}

func ffmpeg(input []byte, args ...string) {
	cmd := exec.Command("ffmpeg", append([]string{"-hide_banner", "-loglevel", "error", "-y"}, args...)...)
	if input != nil {
		cmd.Stdin = strings.NewReader(string(input))
	}
	cmd.Stderr = os.Stderr
	check(cmd.Run())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// chime is a soft two-note chime every four seconds over the murmur of a street.
func chime(t float64) float64 {
	v := 0.02 * murmur(t)
	for i, f := range []float64{659, 523} {
		since := math.Mod(t+8-0.5-0.45*float64(i), 4)
		v += 0.16 * math.Exp(-2.2*since) * math.Sin(2*math.Pi*f*since) * math.Min(1, since*200)
	}
	return v
}

// murmur is noise that repeats after eight seconds: many tones, each with a
// whole number of periods in them.
func murmur(t float64) float64 {
	v := 0.0
	for _, tone := range tones {
		v += math.Sin(2*math.Pi*(tone[0]/seconds*t) + tone[1])
	}
	return v / math.Sqrt(float64(len(tones)))
}

var tones = func() (tones [][2]float64) {
	r := rand.New(rand.NewSource(1))
	for range 60 {
		tones = append(tones, [2]float64{float64(600 + r.Intn(2600)), r.Float64() * 2 * math.Pi})
	}
	return tones
}()

// machine is a conveyor that hums and a truck that backs up.
func machine(t float64) float64 {
	v := 0.08*math.Sin(2*math.Pi*100*t) + 0.03*math.Sin(2*math.Pi*200*t) + 0.02*murmur(t)
	if phase := math.Mod(t, 1); math.Mod(t, 8) < 4 && phase < 0.4 {
		v += 0.07 * math.Sin(2*math.Pi*1000*t) * math.Min(1, math.Min(phase, 0.4-phase)*60)
	}
	return v
}

// muLaw encodes a sound as ITU-T G.711 mu-law.
func muLaw(sound func(float64) float64, rate int) []byte {
	out := make([]byte, 0, seconds*rate)
	for i := range seconds * rate {
		v := int(32000 * sound(float64(i)/float64(rate)))
		sign := 0x80
		if v < 0 {
			v, sign = -v, 0
		}
		v = min(v, 32635) + 132
		exponent := 7
		for mask := 0x4000; v&mask == 0 && exponent > 0; mask >>= 1 {
			exponent--
		}
		mantissa := v >> (exponent + 3) & 0xf
		out = append(out, byte(^(exponent<<4|mantissa)&0x7f|sign))
	}
	return out
}
