package buckettest

import (
	"os"
	"strings"
	"testing"
)

// TestVersions holds the versions here and in the script that builds the servers equal.
func TestVersions(t *testing.T) {
	script, err := os.ReadFile("../../../.ci/servers.sh")
	if err != nil {
		t.Fatal(err)
	}
	for name, version := range map[string]string{"minio_version": MinIOVersion, "versitygw_version": VersityGWVersion} {
		if !strings.Contains(string(script), "\n"+name+"="+version+"\n") {
			t.Errorf(".ci/servers.sh does not set %s=%s", name, version)
		}
	}
}

// TestServers starts, pauses, kills and restarts each server.
func TestServers(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *Server{"minio": StartMinIO, "versitygw": StartVersityGW} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			endpoint := s.Endpoint
			s.Pause()
			s.Resume()
			s.Kill()
			s.Kill()
			s.Restart()
			if s.Endpoint != endpoint {
				t.Errorf("restarted on %s, was %s", s.Endpoint, endpoint)
			}
		})
	}
}
