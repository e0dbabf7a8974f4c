package cmaf

import "math/bits"

// flacEncoder writes FLAC frames of variable block size (RFC 9639, section 9):
//
//	header   sync, block size, sample rate, channels, depth, sample number, CRC-8
//	subframe for each channel: constant, verbatim or fixed prediction
//	         (orders 0 to 4) with partitioned Rice codes
//	footer   padding to a byte, CRC-16
//
// It works on integers alone and keeps nothing from frame to frame but its
// buffers: equal samples give equal bytes.
type flacEncoder struct {
	rate, depth int
	plans       [4]flacPlan // of channels as they are; of stereo: left, right, mid, side
	rest        [8]flacPlan
}

// Channel assignments of stereo, RFC 9639, 9.1.3.
const (
	leftSide  = 8
	rightSide = 9
	midSide   = 10
)

// appendFrame appends a frame of the samples of each channel, at least one and
// equally many, of which the first is sample number of the stream. Of the
// number 36 bits are kept.
func (e *flacEncoder) appendFrame(dst []byte, pcm [][]int32, number uint64) []byte {
	assignment := len(pcm) - 1
	var plans [8]*flacPlan
	for c := range pcm {
		plans[c] = &e.rest[c]
		plans[c].make(pcm[c], e.depth)
	}
	if len(pcm) == 2 {
		assignment = e.stereo(pcm, &plans)
	}
	start := len(dst)
	dst = e.appendHeader(dst, len(pcm[0]), assignment, number)
	w := bitWriter{b: dst}
	for c := range pcm {
		plans[c].write(&w)
	}
	dst = w.align()
	crc := crc16(dst[start:])
	return append(dst, byte(crc>>8), byte(crc))
}

// stereo replaces the plans of left and right where the middle of both, or
// their difference, takes fewer bits.
func (e *flacEncoder) stereo(pcm [][]int32, plans *[8]*flacPlan) int {
	mid, side := &e.plans[0], &e.plans[1]
	mid.mix(pcm, func(l, r int32) int32 { return (l + r) >> 1 }, e.depth)
	side.mix(pcm, func(l, r int32) int32 { return l - r }, e.depth+1)
	left, right := plans[0], plans[1]
	best, assignment := left.bits+right.bits, 1
	for _, c := range [...]struct {
		assignment int
		first      *flacPlan
		second     *flacPlan
	}{{leftSide, left, side}, {rightSide, side, right}, {midSide, mid, side}} {
		if n := c.first.bits + c.second.bits; n < best {
			best, assignment = n, c.assignment
			plans[0], plans[1] = c.first, c.second
		}
	}
	return assignment
}

func (e *flacEncoder) appendHeader(dst []byte, block, assignment int, number uint64) []byte {
	start := len(dst)
	rateCode, rateSuffix, rateBytes := flacRate(e.rate)
	depthCode := [...]byte{8: 1, 16: 4, 24: 6}[e.depth]
	dst = append(dst, 0xff, 0xf9, 0x70|rateCode, byte(assignment)<<4|depthCode<<1)
	dst = appendNumber(dst, number&(1<<36-1))
	dst = append(dst, byte((block-1)>>8), byte(block-1))
	for i := rateBytes - 1; i >= 0; i-- {
		dst = append(dst, byte(rateSuffix>>(8*i)))
	}
	return append(dst, crc8(dst[start:]))
}

// flacRate returns the code of a sample rate and what follows the header of it:
// a value and its size in bytes (RFC 9639, 9.1.2).
func flacRate(rate int) (code byte, suffix, size int) {
	for i, known := range [...]int{88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000} {
		if rate == known {
			return byte(i + 1), 0, 0
		}
	}
	switch {
	case rate <= 65535:
		return 13, rate, 2
	case rate%10 == 0:
		return 14, rate / 10, 2
	}
	return 0, 0, 0 // as STREAMINFO says
}

// appendNumber appends a number of up to 36 bits as UTF-8 would code it, were
// it to go on to seven bytes (RFC 9639, 9.1.5).
func appendNumber(dst []byte, v uint64) []byte {
	if v < 0x80 {
		return append(dst, byte(v))
	}
	n := (bits.Len64(v) + 3) / 5 // bytes: 5 n + 1 bits fit
	dst = append(dst, byte(0xff<<(8-n))|byte(v>>(6*(n-1))))
	for i := n - 2; i >= 0; i-- {
		dst = append(dst, 0x80|byte(v>>(6*i)&63))
	}
	return dst
}

const (
	maxOrder     = 4
	maxPartition = 6 // 64 partitions of the residual
)

// flacPlan is how one channel will be written, and what that takes.
type flacPlan struct {
	bits      int
	wasted    int     // low bits that are zero in every sample
	depth     int     // bits per sample without them
	order     int     // of the prediction; constant or verbatim when negative
	samples   []int32 // without the wasted bits
	residual  []uint32
	partition int // log2 of their number
	params    [1 << maxPartition]byte
	mixed     []int32
}

const (
	constant = -1
	verbatim = -2
)

// mix plans for what f makes of two channels.
func (p *flacPlan) mix(pcm [][]int32, f func(l, r int32) int32, depth int) {
	p.mixed = p.mixed[:0]
	for i, l := range pcm[0] {
		p.mixed = append(p.mixed, f(l, pcm[1][i]))
	}
	p.make(p.mixed, depth)
}

// make plans for samples of depth bits.
func (p *flacPlan) make(samples []int32, depth int) {
	all, same := int32(0), true
	for _, s := range samples {
		all |= s
		same = same && s == samples[0]
	}
	p.wasted, p.depth = 0, depth
	if !same {
		p.wasted = bits.TrailingZeros32(uint32(all))
		p.depth -= p.wasted
	}
	p.samples = p.samples[:0]
	for _, s := range samples {
		p.samples = append(p.samples, s>>p.wasted)
	}
	if same {
		p.order, p.bits = constant, 8+depth
		return
	}
	p.order, p.bits = verbatim, 8+p.wasted+len(samples)*p.depth
	if len(samples) <= maxOrder {
		return
	}
	order := bestOrder(p.samples)
	p.predict(order)
	if n := 8 + p.wasted + order*p.depth + p.choosePartition(order); n < p.bits {
		p.order, p.bits = order, n
	}
}

// bestOrder returns the order of prediction with the least sum of errors.
func bestOrder(s []int32) int {
	var sums [maxOrder + 1]uint64
	// The differences of each order that precede sample maxOrder.
	d1, d2, d3 := s[3]-s[2], s[3]-2*s[2]+s[1], s[3]-3*s[2]+3*s[1]-s[0]
	last := s[3]
	for _, v := range s[maxOrder:] {
		e1 := v - last
		e2 := e1 - d1
		e3 := e2 - d2
		e4 := e3 - d3
		for i, e := range [...]int32{v, e1, e2, e3, e4} {
			sums[i] += uint64(max(e, -e))
		}
		last, d1, d2, d3 = v, e1, e2, e3
	}
	best := 0
	for i, sum := range sums {
		if sum < sums[best] {
			best = i
		}
	}
	return best
}

// predict fills the residual for a fixed predictor (RFC 9639, 9.2.5), folded so
// that small errors of either sign are small numbers. (Errors of 25-bit samples
// at order 4 take 29 bits.)
func (p *flacPlan) predict(order int) {
	s := p.samples
	p.residual = p.residual[:0]
	for i := order; i < len(s); i++ {
		var e int32
		switch order {
		case 0:
			e = s[i]
		case 1:
			e = s[i] - s[i-1]
		case 2:
			e = s[i] - 2*s[i-1] + s[i-2]
		case 3:
			e = s[i] - 3*s[i-1] + 3*s[i-2] - s[i-3]
		default:
			e = s[i] - 4*s[i-1] + 6*s[i-2] - 4*s[i-3] + s[i-4]
		}
		p.residual = append(p.residual, uint32(e<<1)^uint32(e>>31))
	}
}

// choosePartition picks the number of partitions and the Rice parameter of
// each, and returns the bits that the residual then takes at most.
func (p *flacPlan) choosePartition(order int) int {
	n := len(p.samples)
	top := 0
	for top < maxPartition && n>>(top+1) > order && n&(1<<(top+1)-1) == 0 {
		top++
	}
	var sums [1 << maxPartition]uint64
	for i, r := range p.residual {
		sums[(i+order)/(n>>top)] += uint64(r)
	}
	best := 0
	for partition := top; ; partition-- {
		var params [1 << maxPartition]byte
		total, widest := 6, byte(0)
		for i := range 1 << partition {
			count := n >> partition
			if i == 0 {
				count -= order
			}
			param, bits := rice(sums[i], count)
			params[i], widest = param, max(widest, param)
			total += bits
		}
		total += paramBits(widest) << partition
		if partition == top || total < best {
			best, p.partition, p.params = total, partition, params
		}
		if partition == 0 {
			return best
		}
		for i := range 1 << (partition - 1) {
			sums[i] = sums[2*i] + sums[2*i+1]
		}
	}
}

// paramBits is the width of Rice parameters, the escape code of all ones left
// free.
func paramBits(widest byte) int {
	if widest > 14 {
		return 5
	}
	return 4
}

// rice returns the parameter for count numbers of the given sum, and the bits
// they take at most.
func rice(sum uint64, count int) (param byte, size int) {
	mean := sum / uint64(count)
	k := max(bits.Len64(mean)-1, 0)
	size = count*(k+1) + int(sum>>k)
	if up := count*(k+2) + int(sum>>(k+1)); up < size {
		k, size = k+1, up
	}
	return byte(min(k, 30)), size
}

// write writes the subframe (RFC 9639, 9.2).
func (p *flacPlan) write(w *bitWriter) {
	kind := uint32(0)
	switch {
	case p.order == verbatim:
		kind = 1
	case p.order >= 0:
		kind = 8 | uint32(p.order)
	}
	w.put(kind, 7)
	if p.wasted > 0 {
		w.put(1, 1)
		w.put(1, p.wasted) // in unary, less one
	} else {
		w.put(0, 1)
	}
	mask := uint32(1)<<p.depth - 1
	raw := p.samples
	switch {
	case p.order == constant:
		raw = raw[:1]
	case p.order >= 0:
		raw = raw[:p.order]
	}
	for _, s := range raw {
		w.put(uint32(s)&mask, p.depth)
	}
	if p.order >= 0 {
		p.writeResidual(w)
	}
}

func (p *flacPlan) writeResidual(w *bitWriter) {
	partitions := 1 << p.partition
	widest := byte(0)
	for _, k := range p.params[:partitions] {
		widest = max(widest, k)
	}
	width := paramBits(widest)
	w.put(uint32(width-4), 2)
	w.put(uint32(p.partition), 4)
	at := 0
	for i, k := range p.params[:partitions] {
		w.put(uint32(k), width)
		end := (i+1)*(len(p.samples)>>p.partition) - p.order
		for _, r := range p.residual[at:end] {
			w.rice(r, int(k))
		}
		at = end
	}
}

// bitWriter appends bits, the highest first.
type bitWriter struct {
	b   []byte
	acc uint64 // its low n bits are not yet in b
	n   int
}

// put appends the low n bits of v, at most 32; the others must be zero.
func (w *bitWriter) put(v uint32, n int) {
	w.acc = w.acc<<n | uint64(v)
	w.n += n
	for w.n >= 8 {
		w.n -= 8
		w.b = append(w.b, byte(w.acc>>w.n))
	}
}

// rice appends v in Rice code: v >> k in unary, then its low k bits.
func (w *bitWriter) rice(v uint32, k int) {
	q := int(v >> k)
	for ; q >= 32; q -= 32 {
		w.put(0, 32)
	}
	w.put(1, q+1)
	w.put(v&(1<<k-1), k)
}

func (w *bitWriter) align() []byte {
	if w.n > 0 {
		w.put(0, 8-w.n)
	}
	return w.b
}

// crc8 is the checksum of frame headers: polynomial x^8 + x^2 + x + 1.
func crc8(b []byte) byte {
	crc := byte(0)
	for _, v := range b {
		crc ^= v
		for range 8 {
			carry := crc >> 7
			crc = crc<<1 ^ carry*0x07
		}
	}
	return crc
}

// crc16 is the checksum of frames: polynomial x^16 + x^15 + x^2 + 1, four bits
// at a time.
func crc16(b []byte) uint16 {
	table := [16]uint16{
		0x0000, 0x8005, 0x800f, 0x000a, 0x801b, 0x001e, 0x0014, 0x8011,
		0x8033, 0x0036, 0x003c, 0x8039, 0x0028, 0x802d, 0x8027, 0x0022,
	}
	crc := uint16(0)
	for _, v := range b {
		crc ^= uint16(v) << 8
		crc = crc<<4 ^ table[crc>>12]
		crc = crc<<4 ^ table[crc>>12]
	}
	return crc
}
