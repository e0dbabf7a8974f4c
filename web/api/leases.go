package api

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/web"
)

// Leases is the store in which consumer applications keep who reads what and
// how far; a journal.Meta is one. Keys of other users of the store are not
// touched.
type Leases interface {
	Get(key string) (value []byte, revision uint64, err error)
	Put(ctx context.Context, key string, value []byte, expect uint64) (revision uint64, err error)
	Delete(ctx context.Context, key string, expect uint64) error
	List(prefix string) iter.Seq[journal.Item]
}

// leasePrefix begins the keys of leases: leases/<app>/<key>.
const leasePrefix = "leases/"

// Bounds of what applications may keep.
const (
	maxLease  = 16 << 10 // bytes of a value
	maxLeases = 20_000   // of an application: the service's shards twice over
	maxOfAll  = 50_000
)

var leaseWord = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)

type leaseBody struct {
	Key      string          `json:"key"`
	Revision string          `json:"revision"` // decimal: it may be beyond what JavaScript counts to
	Value    json.RawMessage `json:"value"`
}

// leases returns the store and the prefix of the application that the path
// names, if who sent r may use it.
func (a *API) leases(r *http.Request) (Leases, string, error) {
	if err := a.o.Access.Admin(r); err != nil {
		return nil, "", err
	}
	if a.o.Leases == nil {
		return nil, "", missing("store of leases")
	}
	app, err := leaseName(r, "app")
	return a.o.Leases, leasePrefix + app + "/", err
}

// lease returns the store and the key that the path names.
func (a *API) lease(r *http.Request) (Leases, string, error) {
	store, prefix, err := a.leases(r)
	if err != nil {
		return nil, "", err
	}
	key, err := leaseName(r, "key")
	return store, prefix + key, err
}

func leaseName(r *http.Request, part string) (string, error) {
	s := r.PathValue(part)
	if !leaseWord.MatchString(s) {
		return "", &web.Error{Status: http.StatusBadRequest, Code: "bad_name", Message: part + ": " + strconv.Quote(s) + " is no name", Hint: "use up to 128 letters, digits, _ . -"}
	}
	return s, nil
}

func (a *API) listLeases(w http.ResponseWriter, r *http.Request) error {
	store, prefix, err := a.leases(r)
	if err != nil {
		return err
	}
	list := []leaseBody{}
	for item := range store.List(prefix) {
		list = append(list, leaseBody{strings.TrimPrefix(item.Key, prefix), revisionOf(item.Revision), item.Value})
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"leases": list})
	return nil
}

func (a *API) showLease(w http.ResponseWriter, r *http.Request) error {
	store, key, err := a.lease(r)
	if err != nil {
		return err
	}
	value, revision, err := store.Get(key)
	if errors.Is(err, journal.ErrAbsent) {
		return &web.Error{Status: http.StatusNotFound, Code: "no_such_lease", Message: "the application keeps nothing under this key", Err: err}
	}
	if err != nil {
		return err
	}
	setETag(w, revision)
	web.WriteJSON(w, http.StatusOK, json.RawMessage(value))
	return nil
}

func (a *API) putLease(w http.ResponseWriter, r *http.Request) error {
	store, key, err := a.lease(r)
	if err != nil {
		return err
	}
	expect, err := expected(r)
	if err != nil {
		return err
	}
	var value json.RawMessage
	if err := web.ReadJSON(w, r, &value); err != nil {
		return err
	}
	if len(value) > maxLease {
		return &web.Error{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: "the value is larger than 16 KiB"}
	}
	if expect == 0 {
		if err := roomForLease(store, key); err != nil {
			return err
		}
	}
	revision, err := store.Put(r.Context(), key, value, expect)
	if err != nil {
		return conflict(err)
	}
	setETag(w, revision)
	if expect == 0 {
		w.WriteHeader(http.StatusCreated)
	} else {
		w.WriteHeader(http.StatusNoContent)
	}
	return nil
}

func (a *API) deleteLease(w http.ResponseWriter, r *http.Request) error {
	store, key, err := a.lease(r)
	if err != nil {
		return err
	}
	expect, err := expected(r)
	if err == nil && expect == 0 {
		err = badCondition("only what is there can be deleted", "send If-Match with the ETag")
	}
	if err != nil {
		return err
	}
	if err := store.Delete(r.Context(), key, expect); err != nil {
		return conflict(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// roomForLease refuses a new key when there are too many. It is rarely asked:
// leases are made once and changed often.
func roomForLease(store Leases, key string) error {
	app := key[:strings.LastIndexByte(key, '/')+1]
	all, own := 0, 0
	for item := range store.List(leasePrefix) {
		all++
		if strings.HasPrefix(item.Key, app) {
			own++
		}
	}
	if own >= maxLeases || all >= maxOfAll {
		return &web.Error{Status: http.StatusInsufficientStorage, Code: "too_many_leases", Message: "there are too many leases", Hint: "delete those of applications that are no more"}
	}
	return nil
}

// expected returns the revision that the change is on condition of, 0 for a key
// that is not there. A change without a condition is refused: it could undo
// another's.
func expected(r *http.Request) (uint64, error) {
	match, none := r.Header.Values("If-Match"), r.Header.Values("If-None-Match")
	switch {
	case len(match)+len(none) == 0:
		return 0, &web.Error{Status: http.StatusPreconditionRequired, Code: "condition_required", Message: "a change of a lease needs a condition", Hint: "send If-Match with the ETag, or If-None-Match: * for a new one"}
	case len(match)+len(none) > 1:
		return 0, badCondition("there is more than one condition", "")
	case len(none) == 1 && none[0] == "*":
		return 0, nil
	case len(none) == 1:
		return 0, badCondition("If-None-Match can only be *", "")
	}
	digits, ok := strings.CutPrefix(match[0], `"`)
	digits, ok2 := strings.CutSuffix(digits, `"`)
	revision, err := strconv.ParseUint(digits, 10, 64)
	if !ok || !ok2 || err != nil || revision == 0 {
		return 0, badCondition("If-Match has to be an ETag of this lease", "")
	}
	return revision, nil
}

func badCondition(message, hint string) error {
	return &web.Error{Status: http.StatusBadRequest, Code: "bad_condition", Message: message, Hint: hint}
}

func setETag(w http.ResponseWriter, revision uint64) {
	w.Header().Set("ETag", `"`+revisionOf(revision)+`"`)
}

func revisionOf(revision uint64) string { return strconv.FormatUint(revision, 10) }

// conflict words what the store says of a change.
func conflict(err error) error {
	switch {
	case errors.Is(err, journal.ErrConflict):
		return &web.Error{Status: http.StatusPreconditionFailed, Code: "conflict", Message: "the lease was changed by another", Hint: "read it again", Err: err}
	case errors.Is(err, journal.ErrFull):
		return &web.Error{Status: http.StatusInsufficientStorage, Code: "full", Message: "the server's disk is full", Err: err}
	}
	return err
}
