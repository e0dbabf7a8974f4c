package dir

import "os"

// linkNew gives a file a second name unless that is taken, and takes the first name away. A removal that fails
// is no error: the object is stored, and the first name is swept or adopted again later.
func linkNew(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	os.Remove(from)
	return nil
}
