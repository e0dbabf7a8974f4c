package hls

// Cached returns how many timelines are kept, and how many rows they have.
func (p *Packager) Cached() (timelines, rows int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.lines {
		if s.t != nil {
			rows += len(s.t.rows)
		}
	}
	return len(p.lines), rows
}
