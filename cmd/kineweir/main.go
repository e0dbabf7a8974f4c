// Command kineweir is the whole product in one binary.
package main

func main() {}
