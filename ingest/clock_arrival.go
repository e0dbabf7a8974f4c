package ingest

import (
	"math"
	"time"
)

// How the arrival estimate moves.
const (
	arrivalWindow = 10 // buckets of one second
	// arrivalSlew is the least speed at which the estimate rises: faster than any
	// crystal drifts.
	arrivalSlew = 500e-6
	// arrivalSettle is the time constant with which a larger error is worked off.
	arrivalSettle = float64(200 * time.Second)
	// arrivalStep is the error that is not worked off but stepped over: the
	// publisher stood still.
	arrivalStep = int64(time.Second)
)

const emptyBucket = math.MaxInt64

// arrivalEstimate estimates when a unit was captured from when units arrive.
// What arrives is late by the delay of the network, never early; so the unit
// that was delayed least tells best. The estimate is the least arrival minus
// PTS of the last ten seconds. It falls at once, because nothing is captured
// after it has arrived, and rises slowly, so that a congested network moves it
// hardly and a slow crystal is followed. All times are in nanoseconds.
type arrivalEstimate struct {
	started bool
	offset  int64 // UTC of PTS 0, as believed
	at      int64 // the latest arrival
	second  int64 // which second the current bucket is
	least   [arrivalWindow]int64
}

func (e *arrivalEstimate) add(pts, at int64) {
	offset := at - pts
	if !e.started {
		*e = arrivalEstimate{started: true, offset: offset, at: at, second: at / int64(time.Second)}
		for i := range e.least {
			e.least[i] = emptyBucket
		}
	}
	e.turn(at / int64(time.Second))
	slot := &e.least[e.second%arrivalWindow]
	*slot = min(*slot, offset)
	if offset < e.offset {
		e.offset = offset
	} else {
		e.rise(max(at-e.at, 0))
	}
	e.at = max(e.at, at)
}

// turn empties the buckets of the seconds that have passed.
func (e *arrivalEstimate) turn(second int64) {
	for n := 0; e.second < second && n < arrivalWindow; n++ {
		e.second++
		e.least[e.second%arrivalWindow] = emptyBucket
	}
	e.second = max(e.second, second)
}

func (e *arrivalEstimate) rise(elapsed int64) {
	least := int64(emptyBucket)
	for _, v := range e.least {
		least = min(least, v)
	}
	err := least - e.offset
	switch {
	case least == emptyBucket || err <= 0:
	case err > arrivalStep:
		e.offset = least
	default:
		speed := max(arrivalSlew, float64(err)/arrivalSettle)
		e.offset += min(err, int64(float64(elapsed)*speed))
	}
}

// ahead returns by how much a unit would arrive before it was captured.
func (e *arrivalEstimate) ahead(pts, at int64) int64 {
	if !e.started {
		return 0
	}
	return e.offset - (at - pts)
}

func (e *arrivalEstimate) utc(pts int64) int64 { return pts + e.offset }
