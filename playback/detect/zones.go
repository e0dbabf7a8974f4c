package detect

import (
	"errors"
	"fmt"
)

// Point is a place in a picture, in parts of its width and height, from the
// upper left corner.
type Point [2]float64

// Zone is a polygon in which motion counts, or does not.
type Zone struct {
	Points []Point `json:"points"`
	Ignore bool    `json:"ignore,omitempty"` // what moves in it does not count
}

// maxPoints bounds the corners of a zone.
const maxPoints = 100

// Validate says what is wrong with a zone.
func (z Zone) Validate() error {
	if n := len(z.Points); n < 3 || n > maxPoints {
		return fmt.Errorf("a zone has 3 to %d points, not %d", maxPoints, n)
	}
	for _, p := range z.Points {
		for _, v := range p {
			if !(v >= 0 && v <= 1) {
				return fmt.Errorf("point %v: write parts of the picture's width and height, from 0 to 1", p)
			}
		}
	}
	if z.area() < 1e-4 {
		return errors.New("a zone has no area: its points lie on a line")
	}
	return nil
}

// area is that of the polygon, by the shoelace formula.
func (z Zone) area() float64 {
	sum := 0.0
	for i, p := range z.Points {
		q := z.Points[(i+1)%len(z.Points)]
		sum += p[0]*q[1] - q[0]*p[1]
	}
	return max(sum, -sum) / 2
}

// contains reports whether a point lies inside, by the even-odd rule.
func (z Zone) contains(p Point) bool {
	in := false
	for i, a := range z.Points {
		b := z.Points[(i+1)%len(z.Points)]
		if (a[1] > p[1]) != (b[1] > p[1]) && p[0] < a[0]+(b[0]-a[0])*(p[1]-a[1])/(b[1]-a[1]) {
			in = !in
		}
	}
	return in
}

// counts reports whether motion at p counts: in one of the zones, or anywhere
// where there are none, and in none that is to be ignored.
func counts(zones []Zone, p Point) bool {
	inside, any := false, false
	for _, z := range zones {
		switch {
		case z.Ignore && z.contains(p):
			return false
		case !z.Ignore:
			any = true
			inside = inside || z.contains(p)
		}
	}
	return inside || !any
}
