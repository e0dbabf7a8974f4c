package viewer

// history finds again what was sent under a sequence number. It holds no
// packets, only which unit began at which number, so a viewer costs some
// kilobytes and a retransmission is sent from the memory that all share.
type history struct {
	runs [128]run
	next int
}

// run is a unit whose packets were sent one after the other.
type run struct {
	unit *unit
	seq  uint16 // of its first packet
	ts   uint32
}

// add notes that u is sent from sequence number seq on.
func (h *history) add(u *unit, seq uint16, ts uint32) {
	h.runs[h.next] = run{u, seq, ts}
	h.next = (h.next + 1) % len(h.runs)
}

// find returns the run and the packet in it that was sent as seq.
func (h *history) find(seq uint16) (*run, int) {
	for i := range h.runs {
		r := &h.runs[(h.next-1-i+2*len(h.runs))%len(h.runs)]
		if r.unit == nil {
			return nil, 0
		}
		if n := seq - r.seq; int(n) < len(r.unit.packets) {
			return r, int(n)
		}
	}
	return nil, 0
}
