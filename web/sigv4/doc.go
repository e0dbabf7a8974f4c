// Package sigv4 checks and makes signatures of AWS Signature Version 4, in the
// Authorization header or in the query (a presigned URL).
//
// It owns the canonical form of a request, the checks of dates and scopes, and
// the codes and words with which the service refuses a signature. It never
// knows where secrets are kept, what the owner of a key may do, or how an error
// is written into an answer: its callers do.
//
// The rules are those of "Signing AWS API requests" of the IAM user guide
// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html) for services
// other than S3:
//
//   - Every segment of the path is encoded once more than it is on the wire.
//   - The hash of the body is always that of the body. UNSIGNED-PAYLOAD is not
//     known here: a signature that leaves out the body would let anybody who
//     sees it write records of their own.
//   - Host (or :authority) and every header that begins with X-Amz- must be
//     signed, because they decide what is done and where.
//
// A security token is part of what is signed and is given no meaning: the keys
// of this server last, and have none.
package sigv4
