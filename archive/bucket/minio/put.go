package minio

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"

	s3 "github.com/minio/minio-go/v7"

	"github.com/kineweir/kineweir/archive/bucket"
)

// tokenName is the user metadata in which an object carries the token of the Put that made it.
const tokenName = "Kineweir-Put"

// castagnoli is written once by its declaration and only read.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// upload is one Put: what to store, and what was found out about it on the way.
type upload struct {
	key         string
	body        io.ReaderAt
	size        int64
	contentType string
	ifAbsent    bool

	token    string
	etag     string
	sum      uint32   // CRC-32C of the whole body
	partSize int64    // of all parts but the last
	partSums []uint32 // CRC-32C of each part; one: the object goes in one request
}

// Put implements bucket.Bucket. How it is verified is said at the package.
func (s *Store) Put(ctx context.Context, key string, body io.ReaderAt, size int64, opts bucket.PutOptions) (bucket.Object, error) {
	if err := bucket.ValidKey(key); err != nil {
		return bucket.Object{}, err
	}
	if size < 0 {
		return bucket.Object{}, fmt.Errorf("put %q: negative size %d", key, size)
	}
	return s.put(ctx, &upload{key: key, body: body, size: size, contentType: opts.ContentType, ifAbsent: opts.IfAbsent})
}

// rounds is how often a Put whose object turns out damaged is done in all.
const rounds = 2

func (s *Store) put(ctx context.Context, u *upload) (bucket.Object, error) {
	u.token = newToken()
	if err := u.read(ctx, s.opts.PartSize); err != nil {
		return bucket.Object{}, fmt.Errorf("put %q: %w", u.key, err)
	}
	send := s.single
	if len(u.partSums) > 1 {
		send = s.multipart
	}
	for round := 1; ; round++ {
		err := send(ctx, u)
		var o bucket.Object
		if err == nil {
			o, err = s.verify(ctx, u)
		}
		if round == rounds || !errors.Is(err, bucket.ErrCorrupt) {
			return o, err
		}
		s.log.ErrorContext(ctx, "object store: an object is not what was put; putting it again", "key", u.key, "err", err)
	}
}

func newToken() string { return rand.Text() }

// errBody marks a failure of the caller's body, which no other attempt mends.
var errBody = errors.New("read body")

// checksumChunk bytes are read between two looks at the context.
const checksumChunk = 256 << 10

// read reads the body once for its checksums, of the whole and of each part.
func (u *upload) read(ctx context.Context, partSize int64) error {
	u.partSize = max(partSize, (u.size+maxParts-1)/maxParts)
	u.sum, u.partSums = 0, nil
	chunk := make([]byte, min(checksumChunk, max(u.size, 1)))
	for at := int64(0); at < u.size || at == 0; {
		end := min(at+u.partSize, u.size)
		part := uint32(0)
		for at < end {
			if err := ctx.Err(); err != nil {
				return err
			}
			want := min(int64(len(chunk)), end-at)
			if n, err := u.body.ReadAt(chunk[:want], at); int64(n) < want {
				if err == nil || err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return fmt.Errorf("%w at byte %d of %d: %w", errBody, at+int64(n), u.size, err)
			}
			u.sum = crc32.Update(u.sum, castagnoli, chunk[:want])
			part = crc32.Update(part, castagnoli, chunk[:want])
			at += want
		}
		u.partSums = append(u.partSums, part)
		if u.size == 0 {
			break
		}
	}
	return nil
}

// part gives the bytes of part i (from 0) and their CRC-32C.
func (u *upload) part(i int) (*source, uint32) {
	at := int64(i) * u.partSize
	return newSource(u.body, at, min(u.partSize, u.size-at)), u.partSums[i]
}

// single sends the object in one request.
func (s *Store) single(ctx context.Context, u *upload) error {
	opts := s3.PutObjectOptions{
		ContentType:  u.contentType,
		UserMetadata: map[string]string{tokenName: u.token, s3.ChecksumCRC32C.Key(): encodeSum(u.sum)},
	}
	hash := ""
	if u.size == 0 {
		// The signed chunks of plain HTTP have a length of their own even then, which versitygw leaves unread.
		opts.DisableContentSha256, hash = true, hex.EncodeToString(sha256.New().Sum(nil))
	}
	return s.decide(ctx, "put", u, opts, func(ctx context.Context, opts s3.PutObjectOptions) (s3.UploadInfo, error) {
		body, _ := u.part(0)
		defer body.letGo()
		info, err := s.core.PutObject(ctx, s.opts.Bucket, s.object(u.key), body, u.size, "", hash, opts)
		return info, body.blame(err)
	})
}

// decide makes the request that brings the object into being, if need be only when the key is free.
func (s *Store) decide(ctx context.Context, doing string, u *upload, opts s3.PutObjectOptions,
	request func(ctx context.Context, opts s3.PutObjectOptions) (s3.UploadInfo, error),
) error {
	if u.ifAbsent {
		opts.SetMatchETagExcept("*")
	}
	attempts := 0
	return s.try(ctx, doing, u.key, u.size, func(ctx context.Context) error {
		attempts++
		info, err := request(ctx, opts)
		u.etag = info.ETag
		if attempts > 1 && s.isOurs(ctx, u, err) {
			return nil
		}
		return err
	})
}

// isOurs says whether an attempt that was told that the object exists, or the upload is gone, was told so
// because an earlier attempt of the same Put had succeeded with its answer lost.
func (s *Store) isOurs(ctx context.Context, u *upload, err error) bool {
	if c := code(err); c != s3.PreconditionFailed && c != s3.NoSuchUpload {
		return false
	}
	info, err := s.core.StatObject(ctx, s.opts.Bucket, s.object(u.key), s3.StatObjectOptions{})
	return err == nil && info.UserMetadata[tokenName] == u.token
}

// verify compares the stored object with what was given, by the best the server attests. An object that
// another Put has made since is that one's to verify.
func (s *Store) verify(ctx context.Context, u *upload) (bucket.Object, error) {
	info, err := s.stat(ctx, "verify", u.key)
	if errors.Is(err, bucket.ErrAbsent) {
		return bucket.Object{}, &bucket.CorruptError{Key: u.key, What: "object", Want: "there", Have: "absent"}
	}
	if err != nil {
		return bucket.Object{}, err
	}
	token := info.UserMetadata[tokenName]
	if token != "" && token != u.token && !u.ifAbsent {
		return bucket.Object{Key: u.key, Size: u.size, ETag: u.etag, Modified: info.LastModified}, nil
	}
	err = u.compare(info)
	if err != nil && token == u.token {
		if rerr := s.Delete(ctx, u.key); rerr != nil {
			err = fmt.Errorf("%w, and it could not be removed: %w", err, rerr)
		}
	}
	if err != nil {
		return bucket.Object{}, err
	}
	return s.fromInfo(info), nil
}

func (u *upload) compare(info s3.ObjectInfo) error {
	if info.Size != u.size {
		return &bucket.CorruptError{Key: u.key, What: "size", Want: fmt.Sprint(u.size), Have: fmt.Sprint(info.Size)}
	}
	if have, want := attested(info), bucket.FormatCRC32C(u.sum); have != "" {
		if have != want {
			return &bucket.CorruptError{Key: u.key, What: "checksum", Want: want, Have: have}
		}
		return nil
	}
	if len(u.partSums) > 1 || !isMD5(info) {
		return nil
	}
	h := md5.New()
	if _, err := io.Copy(h, io.NewSectionReader(u.body, 0, u.size)); err != nil {
		return fmt.Errorf("%w: %w", errBody, err)
	}
	if want := hex.EncodeToString(h.Sum(nil)); info.ETag != want {
		return &bucket.CorruptError{Key: u.key, What: "MD5", Want: want, Have: info.ETag}
	}
	return nil
}

// isMD5 says whether an ETag is the MD5 of the object: with encryption by keys of others it only looks so
// (S3 User Guide, "Checking object integrity").
func isMD5(info s3.ObjectInfo) bool {
	if raw, err := hex.DecodeString(info.ETag); err != nil || len(raw) != md5.Size {
		return false
	}
	encryption := info.Metadata.Get("X-Amz-Server-Side-Encryption")
	return (encryption == "" || encryption == "AES256") && info.Metadata.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") == ""
}

// attested is the CRC-32C of the full object the server keeps, in the form of bucket.Object.Checksum. Those of
// uploads in parts that are a checksum of checksums carry a "-" and say nothing to us.
func attested(info s3.ObjectInfo) string {
	raw, err := base64.StdEncoding.DecodeString(info.ChecksumCRC32C)
	if err != nil || len(raw) != crc32.Size || strings.EqualFold(info.ChecksumMode, "COMPOSITE") {
		return ""
	}
	return bucket.FormatCRC32C(binary.BigEndian.Uint32(raw))
}

func encodeSum(sum uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// checksumHeader carries a part's checksum.
func checksumHeader(sum uint32) http.Header {
	h := http.Header{}
	h.Set(s3.ChecksumCRC32C.Key(), encodeSum(sum))
	return h
}
