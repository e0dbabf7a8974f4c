package main

import (
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"math"
	"time"
)

// detection is one thing that was found, as the contract has it.
type detection struct {
	Label string     `json:"label"`
	Score float64    `json:"score"`         // 0 to 1
	Box   [4]float64 `json:"box,omitempty"` // left, top, width, height; parts of the picture
	// More that is worth telling; any object, or none.
	Attributes map[string]any `json:"attributes,omitempty"`
}

// answer is what goes back for one picture.
type answer struct {
	Detections []detection `json:"detections"`
}

// look decodes a picture and looks at it.
func (d *detector) look(jpg io.Reader) (answer, error) {
	img, err := jpeg.Decode(jpg)
	if err != nil {
		return answer{}, fmt.Errorf("picture: %w", err)
	}
	time.Sleep(d.delay)
	return answer{d.find(img)}, nil
}

// find is the place of the model: a picture goes in, and what is in it comes
// out. This one gathers the pixels of one colour in blocks, and the blocks that
// touch in patches.
func (d *detector) find(img image.Image) []detection {
	list := []detection{} // "[]" in JSON, not "null"
	g := d.grid(img)
	for start := range g.full {
		if !g.full[start] {
			continue
		}
		p := g.patch(start)
		part := float64(p.blocks) / float64(len(g.full))
		if part < d.least {
			continue
		}
		list = append(list, detection{
			Label: d.colour.name,
			// The more it fills its box the surer it is one thing.
			Score:      math.Round(100*float64(p.blocks)/float64(p.box.Dx()*p.box.Dy())) / 100,
			Box:        boxOf(p.box, img.Bounds()),
			Attributes: map[string]any{"part": math.Round(1000*part) / 1000},
		})
	}
	return list
}

// boxOf is a rectangle of blocks as parts of the picture.
func boxOf(blocks, picture image.Rectangle) [4]float64 {
	w, h := float64(picture.Dx()), float64(picture.Dy())
	left, top := float64(block*blocks.Min.X)/w, float64(block*blocks.Min.Y)/h
	return [4]float64{left, top, min(float64(block*blocks.Max.X)/w, 1) - left, min(float64(block*blocks.Max.Y)/h, 1) - top}
}

// colour is a range of the colour circle, degrees.
type colour struct {
	name     string
	from, to float64
}

func colours() map[string]colour {
	return map[string]colour{"red": {from: -20, to: 20}, "yellow": {from: 40, to: 75}, "green": {from: 85, to: 160}, "blue": {from: 200, to: 260}}
}

// has reports whether a pixel is of the colour, and strongly so.
func (c colour) has(r, g, b float64) bool {
	top, low := max(r, g, b), min(r, g, b)
	if top < 80 || top-low < 0.55*top {
		return false // dark, or grey
	}
	var hue float64
	switch top {
	case r:
		hue = 60 * (g - b) / (top - low)
	case g:
		hue = 60*(b-r)/(top-low) + 120
	default:
		hue = 60*(r-g)/(top-low) + 240
	}
	return hue >= c.from && hue <= c.to
}

// block is how many pixels wide and high a block is.
const block = 8

// grid says which blocks of a picture are of the colour.
type grid struct {
	width, height int
	full          []bool // taken out as patches are gathered
}

func (d *detector) grid(img image.Image) *grid {
	b := img.Bounds()
	g := &grid{width: (b.Dx() + block - 1) / block, height: (b.Dy() + block - 1) / block}
	votes := make([]int, g.width*g.height) // of the pixels of a block
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, gr, bl, _ := img.At(x, y).RGBA()
			vote := -1
			if d.colour.has(float64(r>>8), float64(gr>>8), float64(bl>>8)) {
				vote = 1
			}
			votes[(y-b.Min.Y)/block*g.width+(x-b.Min.X)/block] += vote
		}
	}
	g.full = make([]bool, len(votes))
	for i, n := range votes {
		g.full[i] = n > 0
	}
	return g
}

type patch struct {
	box    image.Rectangle // in blocks
	blocks int
}

// patch takes the patch out that a block is in.
func (g *grid) patch(start int) patch {
	var p patch
	g.full[start] = false
	for stack := []int{start}; len(stack) > 0; {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		x, y := i%g.width, i/g.width
		p.blocks++
		p.box = p.box.Union(image.Rect(x, y, x+1, y+1))
		for _, at := range [...]image.Point{{x - 1, y}, {x + 1, y}, {x, y - 1}, {x, y + 1}} {
			n := at.Y*g.width + at.X
			if at.In(image.Rect(0, 0, g.width, g.height)) && g.full[n] {
				g.full[n] = false
				stack = append(stack, n)
			}
		}
	}
	return p
}
