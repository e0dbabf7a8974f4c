//go:build ignore

package main

import "math"

// wave swings between -1 and 1, n times per loop.
func wave(p float64, n, phase float64) float64 { return math.Sin(2 * math.Pi * (n*p + phase)) }

// across is a position that runs from left of the picture to right of it while
// p goes from a to b, and stays outside otherwise.
func across(p, a, b, size float64) float64 {
	return -size + (width+2*size)*(p-a)/(b-a)
}

// frontDoor looks from a porch onto a street at dusk.
func frontDoor(c *canvas, p float64) {
	c.bands(0, 210, 14, hex(0x27375e), hex(0xe8926a))
	c.circle(500, 168, 26, hex(0xffd9a0))
	c.rect(0, 210, width, height-210, hex(0x2c2338))
	for i, h := range []float64{96, 128, 84, 112, 100} { // houses across the street
		x := float64(i)*136 - 24
		body := mix(hex(0x3b3552), hex(0x5a4256), float64(i%3)/2)
		c.rect(x, 232-h, 116, h, body)
		c.poly(mix(body, hex(0x000000), 0.3), x-8, 232-h, x+58, 232-h-34, x+124, 232-h)
		for w := range 3 {
			lit := hex(0x2a2740)
			if (i+w)%2 == 0 || (i == 2 && w == 1 && p > 0.5) {
				lit = hex(0xffd37a)
			}
			c.rect(x+14+float64(w)*34, 232-h+20, 20, 26, lit)
		}
	}
	c.rect(0, 232, width, 22, hex(0x6b6470)) // pavement, road, hedge
	c.rect(0, 254, width, 74, hex(0x3a3942))
	for i := range 9 {
		c.rect(float64(i)*80+14, 288, 42, 5, hex(0xd8cf9a))
	}
	for i := range 17 {
		c.circle(float64(i)*42-10, 352+4*wave(p, 1, float64(i)*0.37), 30, mix(hex(0x1f4a3a), hex(0x2b6049), float64(i%2)))
	}
	walker(c, across(p, 0.05, 0.95, 30), 246, p)
	car(c, across(p, 0.08, 0.42, 110), 300, hex(0xd6524a), 1, p)
	car(c, width-across(p, 0.52, 0.9, 110), 276, hex(0x3f8fc4), -1, p)
	c.label("FRONT DOOR", p)
}

func car(c *canvas, x, y float64, color rgb, way, p float64) {
	c.poly(color, x-30, y-20, x-18*1, y-38, x+20, y-38, x+34, y-20)
	c.poly(hex(0xbfe3f2), x-24, y-21, x-15, y-34, x+17, y-34, x+27, y-21)
	c.round(x-54, y-22, 108, 22, 8, color)
	c.circle(x+way*51, y-13, 4, hex(0xfff3b8))
	c.circle(x-way*52, y-13, 3, hex(0xff5d4d))
	for _, dx := range []float64{-30, 32} {
		c.circle(x+dx, y, 11, hex(0x15151a))
		c.circle(x+dx, y, 5, hex(0x9a9aa4))
		a := way * 2 * math.Pi * p * 12
		c.line(x+dx, y, x+dx+4*math.Cos(a), y+4*math.Sin(a), 2, hex(0x15151a))
	}
}

func walker(c *canvas, x, y, p float64) {
	step := wave(p, 14, 0)
	c.line(x, y-22, x+8*step, y, 4, hex(0x20263a))
	c.line(x, y-22, x-8*step, y, 4, hex(0x20263a))
	c.line(x, y-42, x, y-22, 9, hex(0xe0b040))
	c.line(x, y-39, x-7*step, y-24, 3.5, hex(0xe0b040))
	c.circle(x, y-50, 6, hex(0xe8b898))
}

// yard is a garden in daylight.
func yard(c *canvas, p float64) {
	c.bands(0, 220, 10, hex(0x79b8e8), hex(0xd5ecf5))
	c.circle(540, 62, 28, hex(0xfff0a8))
	for i := range 4 {
		x := math.Mod(float64(i)*190+800*p, 800) - 80
		y := 50 + float64(i%2)*38
		for _, d := range [][3]float64{{-26, 4, 15}, {0, -5, 21}, {26, 3, 16}} {
			c.circle(x+d[0], y+d[1], d[2], hex(0xffffff))
		}
	}
	for i := range 5 {
		c.circle(float64(i)*160, 262, 92, mix(hex(0x6fa95e), hex(0x86bd6c), float64(i%2)))
	}
	c.rect(0, 236, width, 124, hex(0x7cc05f))
	for i := range 17 { // fence
		c.round(float64(i)*40-4, 196, 20, 62, 4, hex(0xf4efe2))
	}
	c.rect(0, 210, width, 8, hex(0xe2dac6))
	c.rect(0, 238, width, 8, hex(0xe2dac6))
	sway := 9 * wave(p, 2, 0)
	c.poly(hex(0x7a5236), 108, 318, 138, 318, 130+sway/2, 190, 116+sway/2, 190) // tree
	for _, d := range [][3]float64{{-36, 10, 40}, {36, 8, 38}, {0, -26, 48}} {
		c.circle(123+sway+d[0], 172+d[1], d[2], hex(0x3f8a4a))
	}
	for _, d := range [][2]float64{{-30, 0}, {22, -30}, {34, 14}, {-6, -46}, {0, 6}} {
		c.circle(123+sway+d[0], 172+d[1], 5, hex(0xe8554d))
	}
	for i := range 9 { // flowers
		x := 230 + float64(i)*46
		bend := 4 * wave(p, 2, float64(i)*0.2)
		c.line(x, 336, x+bend, 312, 3, hex(0x3f8a4a))
		c.circle(x+bend, 308, 7, []rgb{hex(0xf26d85), hex(0xffd24a), hex(0xb07be0)}[i%3])
		c.circle(x+bend, 308, 2.6, hex(0xfffbe0))
	}
	x := across(p, 0.1, 0.85, 70) // a cat
	y := 292 - 3*math.Abs(wave(p, 10, 0))
	for i, dx := range []float64{-20, -14, 14, 20} {
		c.line(x+dx, y, x+dx+6*wave(p, 10, float64(i)*0.25), y+20, 5, hex(0x3a3238))
	}
	c.line(x-24, y-8, x-44, y-24+5*wave(p, 5, 0), 5, hex(0x3a3238))
	c.round(x-28, y-14, 56, 22, 10, hex(0x3a3238))
	c.circle(x+32, y-16, 12, hex(0x3a3238))
	c.poly(hex(0x3a3238), x+22, y-20, x+24, y-36, x+32, y-27)
	c.poly(hex(0x3a3238), x+33, y-27, x+41, y-36, x+43, y-20)
	c.circle(x+36, y-17, 2, hex(0xf2e24a))
	c.label("YARD", p)
}

// loadingDock is a hall with a conveyor, a truck and a warning light.
func loadingDock(c *canvas, p float64) {
	c.rect(0, 0, width, height, hex(0x59636e))
	for i := range 5 {
		c.rect(float64(i)*150-20, 0, 6, 236, hex(0x4b545e))
	}
	c.rect(0, 236, width, 124, hex(0x7d8078))
	for i := range 14 {
		c.poly(hex(0xe2b53a), float64(i)*50, 236, float64(i)*50+22, 236, float64(i)*50+12, 248, float64(i)*50-10, 248)
	}
	c.rect(372, 64, 210, 172, hex(0x272c33)) // the door, and a truck that backs up to it
	back := math.Max(0, math.Min(1, p*2.6)) - math.Max(0, math.Min(1, (p-0.6)*2.6))
	s := 0.55 + 0.45*back
	c.round(477-88*s, 226-150*s, 176*s, 142*s, 5, hex(0xdfe4e8))
	c.rect(477-4*s, 226-146*s, 8*s, 130*s, hex(0xb4bcc4))
	for _, side := range []float64{-1, 1} {
		light := hex(0x8d2f2a)
		if back > 0 && back < 1 {
			light = hex(0xff5a48)
		}
		c.circle(477+side*76*s, 226-22*s, 7*s, light)
		c.rect(477+side*62*s-10*s, 226-8*s, 20*s, 18*s, hex(0x14161a))
	}
	for _, x := range []float64{362, 582} { // door frame
		c.rect(x, 56, 10, 180, hex(0xe2b53a))
	}
	c.rect(362, 52, 230, 12, hex(0xe2b53a))
	c.rect(0, 290, width, 26, hex(0x23272d)) // conveyor
	for i := range 22 {
		c.circle(float64(i)*31, 316, 9, hex(0x3d444d))
		a := 2 * math.Pi * p * 16
		c.line(float64(i)*31, 316, float64(i)*31+6*math.Cos(a), 316+6*math.Sin(a), 2, hex(0x8b949e))
	}
	for i := range 5 {
		x := math.Mod(float64(i)*160+800*p, 800) - 80
		h := 40 + float64(i%3)*12
		c.rect(x-28, 290-h, 56, h, hex(0xb98a55))
		c.rect(x-5, 290-h, 10, h, hex(0xd9b684))
		c.rect(x+9, 290-14, 14, 8, hex(0xf3efe6))
	}
	c.rect(272, 96, 28, 8, hex(0x2b3036)) // warning light
	lamp := mix(hex(0x7a4b12), hex(0xffb02e), 0.5+0.5*wave(p, 8, 0))
	c.circle(286, 90, 13, lamp)
	c.rect(262, 96, 48, 10, hex(0x2b3036))
	c.label("LOADING DOCK", p)
}
