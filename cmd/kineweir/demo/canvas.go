//go:build ignore

package main

import "math"

const (
	width, height = 640, 360
	scale         = 2 // drawn larger and shrunk, for smooth edges
)

type rgb [3]uint8

func hex(v uint32) rgb { return rgb{uint8(v >> 16), uint8(v >> 8), uint8(v)} }

func mix(a, b rgb, p float64) (m rgb) {
	for i := range m {
		m[i] = uint8(float64(a[i])*(1-p) + float64(b[i])*p + 0.5)
	}
	return m
}

type canvas struct{ pix []rgb }

func newCanvas() *canvas { return &canvas{make([]rgb, width*scale*height*scale)} }

// fill paints where inside says so, within a box; coordinates are those of the
// small picture.
func (c *canvas) fill(x0, y0, x1, y1 float64, color rgb, inside func(x, y float64) bool) {
	for y := max(0, int(y0*scale)); y < min(height*scale, int(y1*scale)+1); y++ {
		for x := max(0, int(x0*scale)); x < min(width*scale, int(x1*scale)+1); x++ {
			if inside((float64(x)+0.5)/scale, (float64(y)+0.5)/scale) {
				c.pix[y*width*scale+x] = color
			}
		}
	}
}

func (c *canvas) rect(x, y, w, h float64, color rgb) {
	c.fill(x, y, x+w, y+h, color, func(px, py float64) bool { return px >= x && px < x+w && py >= y && py < y+h })
}

// round is a rectangle with round corners.
func (c *canvas) round(x, y, w, h, r float64, color rgb) {
	c.fill(x, y, x+w, y+h, color, func(px, py float64) bool {
		dx, dy := math.Max(math.Max(x+r-px, px-(x+w-r)), 0), math.Max(math.Max(y+r-py, py-(y+h-r)), 0)
		return dx*dx+dy*dy <= r*r
	})
}

func (c *canvas) circle(x, y, r float64, color rgb) {
	c.fill(x-r, y-r, x+r, y+r, color, func(px, py float64) bool { return math.Hypot(px-x, py-y) <= r })
}

// poly is a convex polygon, its corners in either order.
func (c *canvas) poly(color rgb, xy ...float64) {
	x0, y0, x1, y1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for i := 0; i < len(xy); i += 2 {
		x0, x1 = math.Min(x0, xy[i]), math.Max(x1, xy[i])
		y0, y1 = math.Min(y0, xy[i+1]), math.Max(y1, xy[i+1])
	}
	c.fill(x0, y0, x1, y1, color, func(x, y float64) bool {
		left, right := false, false
		for i := 0; i < len(xy); i += 2 {
			j := (i + 2) % len(xy)
			side := (xy[j]-xy[i])*(y-xy[i+1]) - (xy[j+1]-xy[i+1])*(x-xy[i])
			left, right = left || side > 0, right || side < 0
		}
		return !left || !right
	})
}

// line is a thick line with round ends.
func (c *canvas) line(x0, y0, x1, y1, w float64, color rgb) {
	length := math.Hypot(x1-x0, y1-y0)
	c.fill(math.Min(x0, x1)-w, math.Min(y0, y1)-w, math.Max(x0, x1)+w, math.Max(y0, y1)+w, color, func(x, y float64) bool {
		p := 0.0
		if length > 0 {
			p = math.Max(0, math.Min(1, ((x-x0)*(x1-x0)+(y-y0)*(y1-y0))/(length*length)))
		}
		return math.Hypot(x-x0-p*(x1-x0), y-y0-p*(y1-y0)) <= w/2
	})
}

// bands is a vertical gradient in a few flat steps, which encode small.
func (c *canvas) bands(y0, y1 float64, n int, from, to rgb) {
	for i := range n {
		p := float64(i) / float64(n)
		c.rect(0, y0+(y1-y0)*p, width, (y1-y0)/float64(n)+1, mix(from, to, p))
	}
}

// label writes the name of the camera and a dial that turns once per loop.
func (c *canvas) label(text string, p float64) {
	w := float64(len(text))*12 + 46
	c.round(12, 12, w, 28, 6, hex(0x10151c))
	c.circle(30, 26, 8, hex(0x39424e))
	a := 2 * math.Pi * p
	c.line(30, 26, 30+6*math.Sin(a), 26-6*math.Cos(a), 2.4, hex(0xffffff))
	for i, r := range text {
		for y, row := range glyphs[r] {
			for x := range 5 {
				if row[x] == '#' {
					c.rect(46+float64(i)*12+float64(x)*2, 19+float64(y)*2, 2, 2, hex(0xffffff))
				}
			}
		}
	}
}

// shrink returns the picture as rows of RGB.
func (c *canvas) shrink() []byte {
	out := make([]byte, 0, width*height*3)
	for y := range height {
		for x := range width {
			for i := range 3 {
				sum := 0
				for dy := range scale {
					for dx := range scale {
						sum += int(c.pix[(y*scale+dy)*width*scale+x*scale+dx][i])
					}
				}
				out = append(out, uint8((sum+scale*scale/2)/(scale*scale)))
			}
		}
	}
	return out
}

// glyphs are the letters of the names.
var glyphs = map[rune][7]string{
	'A': {" ### ", "#   #", "#   #", "#####", "#   #", "#   #", "#   #"},
	'C': {" ### ", "#   #", "#    ", "#    ", "#    ", "#   #", " ### "},
	'D': {"#### ", "#   #", "#   #", "#   #", "#   #", "#   #", "#### "},
	'F': {"#####", "#    ", "#    ", "#### ", "#    ", "#    ", "#    "},
	'G': {" ### ", "#   #", "#    ", "# ###", "#   #", "#   #", " ### "},
	'I': {" ### ", "  #  ", "  #  ", "  #  ", "  #  ", "  #  ", " ### "},
	'K': {"#   #", "#  # ", "# #  ", "##   ", "# #  ", "#  # ", "#   #"},
	'L': {"#    ", "#    ", "#    ", "#    ", "#    ", "#    ", "#####"},
	'N': {"#   #", "##  #", "##  #", "# # #", "#  ##", "#  ##", "#   #"},
	'O': {" ### ", "#   #", "#   #", "#   #", "#   #", "#   #", " ### "},
	'R': {"#### ", "#   #", "#   #", "#### ", "# #  ", "#  # ", "#   #"},
	'T': {"#####", "  #  ", "  #  ", "  #  ", "  #  ", "  #  ", "  #  "},
	'Y': {"#   #", "#   #", " # # ", "  #  ", "  #  ", "  #  ", "  #  "},
	' ': {"     ", "     ", "     ", "     ", "     ", "     ", "     "},
}
