// Package metrics says in figures how the server does, as text that Prometheus
// reads (exposition format 0.0.4) at /metrics.
//
// It owns the names, the help texts and the format, and the figures of the
// process itself. All other figures are counted where things happen; here they
// are only read, through small interfaces, when somebody asks. It never keeps a
// figure from one asking to the next.
//
// Names begin with kineweir_, end in their base unit (seconds, bytes), and in
// _total where they only grow; those of a stream have the label stream.
package metrics
