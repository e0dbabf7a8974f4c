package dir_test

import (
	"testing"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/archive/bucket/buckettest"
	"github.com/kineweir/kineweir/archive/bucket/dir"
)

func open(t *testing.T) *dir.Store {
	t.Helper()
	s, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	buckettest.Run(t, func(t *testing.T) bucket.Bucket { return open(t) })
}

func TestConformanceMeasured(t *testing.T) {
	buckettest.Run(t, func(t *testing.T) bucket.Bucket { return bucket.Measure(open(t)) })
}
