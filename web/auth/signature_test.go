package auth

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/kineweir/kineweir/web/sigv4"
)

const signers = `
users:
  admin:
    keys: [{id: KWADMIN1, secret: admin-secret-0001}]
    admin: true
  cam:
    password: cam-password
    keys: [{id: KWCAM, secret: cam-secret-000001}]
    publish: [yard, "gate-?"]
  app:
    keys: [{id: KWAPP, secret: app-secret-000001}]
    view: ["yard"]
  all:
    keys: [{id: KWALL, secret: all-secret-000001}]
    view: ["*"]
  prom:
    keys: [{id: KWPROM, secret: prom-secret-00001}]
    metrics: true
anonymous:
  view: [lobby]
`

func TestSecret(t *testing.T) {
	s := sampleStore(t, signers)
	for key, want := range map[string]string{"KWCAM": "cam-secret-000001", "KWADMIN1": "admin-secret-0001", "cam": "", "": "", "KWNOBODY": ""} {
		if got, ok := s.Secret(key); got != want || ok != (want != "") {
			t.Errorf("Secret(%q) = %q, %v", key, got, ok)
		}
		if c, ok := s.Caller(key); ok != (want != "") || !ok && c.May("PutRecord", "yard") {
			t.Errorf("Caller(%q): %v", key, ok)
		}
	}
}

func TestMay(t *testing.T) {
	s := sampleStore(t, signers)
	const arn = "arn:aws:kinesis:us-east-1:000000000000:stream/"
	for _, c := range []struct {
		action, resource          string
		admin, cam, app, all, pro bool
	}{
		{"PutRecord", "yard", true, true, false, false, false},
		{"kinesis:PutRecords", "gate-1", true, true, false, false, false},
		{"PutRecords", "gate-12", true, false, false, false, false},
		{"PutRecord", arn + "yard", true, true, false, false, false},
		{"PutRecord", arn + "other", true, false, false, false, false},
		{"GetRecords", "yard", true, false, true, true, false},
		{"GetShardIterator", "gate-1", true, false, false, true, false},
		{"SubscribeToShard", arn + "yard/consumer/app:1700000000", true, false, true, true, false},
		{"DescribeStreamConsumer", arn + "other/consumer/app:1700000000", true, false, false, true, false},
		{"DescribeStreamConsumer", "arn:aws:iam::1:user/yard", true, false, false, false, false},
		{"ListStreamConsumers", "yard", true, false, true, true, false},
		{"DescribeStream", "yard", true, true, true, true, false},
		{"DescribeStreamSummary", "gate-1", true, true, false, true, false},
		{"ListShards", "yard", true, true, true, true, false},
		{"ListTagsForStream", "yard", true, true, true, true, false},
		{"ListTagsForResource", arn + "yard", true, true, true, true, false},
		{"ListStreams", "", true, false, false, true, false},
		{"DescribeLimits", "", true, false, false, true, false},
		{"CreateStream", "yard", true, false, false, false, false},
		{"DeleteStream", "yard", true, false, false, false, false},
		{"RegisterStreamConsumer", "yard", true, false, false, false, false},
		{"PutResourcePolicy", arn + "yard", true, false, false, false, false},
		{"NotYetInvented", "yard", true, false, false, false, false},
		{"", "", true, false, false, false, false},
	} {
		for key, want := range map[string]bool{"KWADMIN1": c.admin, "KWCAM": c.cam, "KWAPP": c.app, "KWALL": c.all, "KWPROM": c.pro} {
			caller, ok := s.Caller(key)
			if !ok {
				t.Fatal(key)
			}
			if got := caller.May(c.action, c.resource); got != want {
				t.Errorf("%s: May(%q, %q) = %v", caller.Name(), c.action, c.resource, got)
			}
		}
	}
}

func TestOpenCaller(t *testing.T) {
	s := openStore(quiet())
	if c, ok := s.Caller("ANYTHING"); !ok || !c.May("DeleteStream", "yard") || c.Name() != "" {
		t.Error("an open store has rights to give")
	}
	if _, ok := s.Secret("ANYTHING"); ok {
		t.Error("an open store knows a secret")
	}
}

// TestSignedCall goes the whole way: a request signed with a key of the file.
func TestSignedCall(t *testing.T) {
	s := sampleStore(t, signers)
	r := httptest.NewRequest("POST", "/", nil)
	sigv4.Sign(r, nil, "KWAPP", "app-secret-000001", "us-east-1", "kinesis", time.Now())
	key, refused := sigv4.Verify(r, nil, sigv4.Options{Service: "kinesis", Secret: s.Secret})
	if refused != nil {
		t.Fatal(refused)
	}
	if c, ok := s.Caller(key); !ok || c.Name() != "app" || !c.May("GetRecords", "yard") || c.May("PutRecord", "yard") {
		t.Errorf("%q is %+v", key, c)
	}
}
