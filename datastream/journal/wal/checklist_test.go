package wal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// checklist is what a log has to get right for what it acknowledged to be there
// after a crash, and the tests that prove each line. Where a part of a line is
// not this package's, caller says whose it is.
var checklist = []struct {
	line   string
	tests  []string
	caller string
}{
	{
		"a failed write or sync ends the lane; nothing is tried again, nothing acknowledged after it",
		[]string{"TestFailureIsFinal", "TestFailureReachesEveryone", "TestFailureDuringTrim", "TestStoreFailure", "TestNoRoomForAName"},
		"the process ends itself when Fatal is closed",
	},
	{
		"a new file is synced, then named, then its directory is synced; the same order for removals",
		[]string{"TestCrashLane", "TestCrashStore", "TestTrimThatFails"},
		"",
	},
	{
		"torn writes: checksums of header and body, and lengths bounded before anything is allocated for them",
		[]string{"TestTornTailAtEveryByte", "TestTornSectors", "TestLyingLengths", "FuzzFrame", "FuzzFileHeader", "FuzzSnapshot", "FuzzChange"},
		"",
	},
	{
		"reused files: a salt per life, so that frames of a former one never come back",
		[]string{"TestReuse", "TestSpares", "TestFormerLife", "TestReusedTornAtEveryByte", "TestReaderOfAReusedFile", "TestTails", "TestCrashLane", "TestFormerVersion"},
		"",
	},
	{
		"bit rot is told from a torn tail; only a bad last frame is cut",
		[]string{"TestDamageInTheMiddle", "TestDamageInTheLast", "TestWrongLinks", "TestTails", "TestDamagedFiles", "TestReusedDamage", "TestStoreWithoutItsLane"},
		"",
	},
	{
		"blocks of zeros are nothing",
		[]string{"TestZeros", "TestTails", "TestTornTailAtEveryByte"},
		"",
	},
	{
		"no room: entries are refused, reading, trimming and opening go on, spares are a reserve, a short write is cut back",
		[]string{"TestNoRoom", "TestNoRoomForAFile", "TestOpenWithoutRoom", "TestSparesAreGivenBack", "TestFullDevice", "TestRefusedChange", "TestSnapshotThatFails"},
		"",
	},
	{
		"nothing is acknowledged before all that lies before it is durable, and nothing else can be read",
		[]string{"TestNoAckBeforeSync", "TestGroupCommit", "TestUndecidedChange", "TestCrashLane", "TestCrashStore", "TestKillLane", "TestKillMeta"},
		"",
	},
	{
		"sealing: what replaces a file is durable before the file is reused; replay changes nothing, leftovers are swept",
		[]string{"TestSnapshotsAndTrims", "TestCrashStore", "TestDamagedFiles"},
		"who seals commits its segment to Meta before it trims, and sweeps its own leftovers",
	},
	{
		"a snapshot carries its position and checksums, and the one before it stays until the next is verified",
		[]string{"TestDamagedSnapshot", "TestSnapshotThatFails", "TestSnapshotsAndTrims", "TestStoreWithoutItsLane"},
		"",
	},
	{
		"an interrupted sync is repeated; file systems that forget, and syncs too fast to be true, are said in the log",
		[]string{"vfs.TestInterrupted", "vfs.TestKind", "TestUnsafePlaces"},
		"",
	},
	{
		"two processes on one directory: a lock, and an epoch that every opening raises",
		[]string{"TestTwoProcesses", "vfs.TestLock", "vfs.TestMemoryLock", "TestJournalSuite"},
		"",
	},
	{
		"steps of the clock change nothing",
		[]string{"TestNoClock"},
		"who appends times keeps them from going back within a shard",
	},
	{
		"everything is verified whenever it is read",
		[]string{"TestDamageUnderAnOpenLane", "TestDamagedSnapshot"},
		"who keeps sealed files scrubs them in the background",
	},
	{
		"numbers have bounds, and end instead of beginning again",
		[]string{"TestNumbersUsedUp", "TestFrameHoldsAtMost65535"},
		"",
	},
}

// TestChecklist: every line has tests, all of them exist, and none skips itself.
func TestChecklist(t *testing.T) {
	if len(checklist) != 15 {
		t.Errorf("%d lines, want 15", len(checklist))
	}
	exist := map[string]bool{}
	for _, pkg := range []struct{ dir, prefix string }{{".", ""}, {"../vfs", "vfs."}} {
		for _, name := range testNames(t, pkg.dir) {
			exist[pkg.prefix+name] = true
		}
	}
	for i, row := range checklist {
		if len(row.tests) == 0 {
			t.Errorf("line %d, %s: no test", i+1, row.line)
		}
		for _, name := range row.tests {
			if !exist[name] {
				t.Errorf("line %d, %s: there is no test %s", i+1, row.line, name)
			}
		}
	}
}

// testNames lists the tests in a package's folder.
func testNames(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s: %v", dir, err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(src), "t."+"Skip") {
			t.Errorf("%s has a test that skips itself", file)
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				if strings.HasPrefix(fn.Name.Name, "Test") || strings.HasPrefix(fn.Name.Name, "Fuzz") {
					names = append(names, fn.Name.Name)
				}
			}
		}
	}
	return names
}
