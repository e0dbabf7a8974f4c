package kinesisapi

import (
	"errors"
	"time"

	"github.com/kineweir/kineweir/datastream"
)

// start is the place in a shard that a call names, checked as far as that is
// possible without the shard. op and member are how error texts call the
// operation and the number.
func (h *Handler) start(op, member, stream string, shard uint32, kind, sequence string, at time.Time) (datastream.Start, error) {
	s := datastream.Start{From: datastream.From(kind), Sequence: sequence, Time: at}
	bySequence := s.From == datastream.AtSequence || s.From == datastream.AfterSequence
	switch {
	case sequence != "" && !bySequence:
		return s, invalid("Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and %[1]s or (2) TRIM_HORIZON or LATEST and no %[1]s. Request specified %[2]s and also a %[1]s.", member, kind)
	case sequence == "" && bySequence:
		return s, invalid("Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and %[1]s or (2) TRIM_HORIZON or LATEST and no %[1]s. Request specified %[2]s and no %[1]s.", member, kind)
	case s.From == datastream.AtTimestamp:
		return s, checkTimestamp(at)
	case !bySequence:
		return s, nil
	}
	encoded, old := oldShard(sequence)
	if n, err := datastream.ParseSequenceNumber(sequence); err == nil {
		encoded = n.Shard
	} else if !old {
		return s, invalid("%s %s used in %s on shard %s in stream %s under account %s is invalid.",
			member, sequence, op, shardName(shard), stream, h.account)
	}
	if encoded != shard {
		return s, invalid("Invalid %s. It encodes shardId-%012d, while it was used in a call to a shard with %s",
			member, int32(encoded), shardName(shard)) // the service shows what is no shard's as a negative number
	}
	if old {
		return s, invalid("%s %s used in %s on shard %s in stream %s under account %s is invalid because it did not come from this stream.",
			member, sequence, op, shardName(shard), stream, h.account)
	}
	return s, nil
}

func checkTimestamp(at time.Time) error {
	if at.IsZero() {
		return invalid("Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp parameter.")
	}
	if now := time.Now(); at.After(now) {
		return invalid("The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: %d, currentTimestampInMillis: %d",
			at.UnixMilli(), now.UnixMilli())
	}
	return nil
}

// tellStart puts the service's texts to what the engine says of a place.
func (h *Handler) tellStart(err error, op, member, stream string, shard uint32, s datastream.Start) error {
	switch {
	case errors.Is(err, datastream.ErrNotFound):
		return h.shardGone(shard, stream)
	case errors.Is(err, datastream.ErrInvalid) && s.Sequence != "":
		return words(err, datastream.ErrInvalid, "%s %s used in %s on shard %s in stream %s under account %s is invalid because it did not come from this stream.",
			member, s.Sequence, op, shardName(shard), stream, h.account)
	}
	return words(err, datastream.ErrThrottled, "%s", h.tooFast(shard, stream))
}
