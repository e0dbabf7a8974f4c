package main

import (
	"runtime/debug"
	"testing"
)

func TestVersionOf(t *testing.T) {
	commit := []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef0123"}}
	changed := append(commit, debug.BuildSetting{Key: "vcs.modified", Value: "true"})
	for _, c := range []struct {
		name, module string
		settings     []debug.BuildSetting
		want         string
	}{
		{"installed by version", "v1.2.3", nil, "v1.2.3"},
		{"without version control", "(devel)", nil, "development"},
		{"of a commit", "(devel)", commit, "development-0123456789ab"},
		{"of a changed commit", "", changed, "development-0123456789ab+changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			info := &debug.BuildInfo{Settings: c.settings}
			info.Main.Version = c.module
			if got := versionOf(info); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
