package dir

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// DiskFree says how many bytes of the file system that holds path an ordinary user may still fill, and how
// many it has in all. It is what a free-space floor is held against.
func DiskFree(path string) (free, total int64, err error) {
	var st unix.Statfs_t
	for {
		err = unix.Statfs(path, &st)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return 0, 0, fmt.Errorf("free space of %q: %w", path, err)
	}
	block := fragment(&st)
	return int64(st.Bavail) * block, int64(st.Blocks) * block, nil
}
