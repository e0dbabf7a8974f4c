package kinesisapi

import (
	"encoding/json"
	"time"

	"github.com/kineweir/kineweir/web/awswire"
)

// page is where a list goes on: what a NextToken holds. Members that a list has
// no use for are zero.
type page struct {
	Made   int64  `json:"m"`           // unix ms
	After  string `json:"a"`           // name of the last member given
	Stream string `json:"s,omitempty"` // whose members are listed
	ID     uint64 `json:"i,omitempty"` // of the stream
	Filter string `json:"f,omitempty"` // kind of a shard filter
	Time   int64  `json:"t,omitempty"` // of the filter, unix ms
	Shard  uint32 `json:"n,omitempty"` // of the filter, or the last shard given
}

func (h *Handler) pageToken(kind byte, p page) string {
	p.Made = time.Now().UnixMilli()
	b, _ := json.Marshal(p) // no value of a page can fail
	return h.seal.seal(append([]byte{kind}, b...))
}

// parsePage reads a token of that kind.
func (h *Handler) parsePage(kind byte, token string) (p page, err error) {
	b := h.seal.open(token)
	if len(b) == 0 || b[0] != kind || json.Unmarshal(b[1:], &p) != nil {
		return p, invalid("Invalid NextToken.")
	}
	if made := time.UnixMilli(p.Made); time.Since(made) > tokenLife {
		return p, &awswire.Error{
			Code:    codeExpiredNextToken,
			Message: "The NextToken has expired: it may be used for 300 seconds. Start the list anew.",
		}
	}
	return p, nil
}
