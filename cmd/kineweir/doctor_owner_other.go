//go:build !linux

package main

func portOwner(string, int) string { return "" }
