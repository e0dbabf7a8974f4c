package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// portOwner names the process that listens on a port, from /proc; "" when it
// cannot be found out, as for processes of other users.
func portOwner(network string, port int) string {
	sockets := map[string]bool{}
	for _, table := range []string{network, network + "6"} {
		listeningSockets("/proc/net/"+table, port, sockets)
	}
	if len(sockets) == 0 {
		return ""
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		link, err := os.Readlink(fd)
		if err != nil || !sockets[link] {
			continue
		}
		pid := strings.Split(fd, "/")[2]
		name, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			continue
		}
		return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), pid)
	}
	return ""
}

// listeningSockets adds the sockets of a table of proc(5) that are bound to
// port, as /proc/PID/fd shows them.
func listeningSockets(table string, port int, sockets map[string]bool) {
	f, err := os.Open(table)
	if err != nil {
		return
	}
	defer f.Close()
	const listen, unconnected = "0A", "07" // of TCP and of UDP
	for lines := bufio.NewScanner(f); lines.Scan(); {
		field := strings.Fields(lines.Text())
		if len(field) < 10 || field[3] != listen && field[3] != unconnected {
			continue
		}
		if _, hex, _ := strings.Cut(field[1], ":"); hex == fmt.Sprintf("%04X", port) {
			sockets["socket:["+field[9]+"]"] = true
		}
	}
}
