package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// A process to be signalled. It is held by a file descriptor from the moment the rule is made, so that a pid used again is never hit.
type process struct {
	handle *os.Process
	pid    int
	signal syscall.Signal
}

const deathTimeout = 10 * time.Second

func findProcess(pid int, signal string) (*process, error) {
	signals := map[string]syscall.Signal{
		"": syscall.SIGKILL, "KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "TERM": syscall.SIGTERM,
	}
	number, ok := signals[signal]
	if !ok {
		return nil, fmt.Errorf("unknown signal %q", signal)
	}
	if pid < 2 {
		return nil, errors.New("kill needs a pid")
	}
	handle, err := os.FindProcess(pid)
	if err != nil {
		return nil, err
	}
	if err := handle.Signal(syscall.Signal(0)); err != nil {
		return nil, fmt.Errorf("pid %d: %w", pid, err)
	}
	return &process{handle, pid, number}, nil
}

// strike sends the signal. After SIGKILL it returns only once the process is dead: then it can neither send nor see another byte.
func (p *process) strike() error {
	if err := p.handle.Signal(p.signal); err != nil {
		return err
	}
	if p.signal != syscall.SIGKILL {
		return nil
	}
	for deadline := time.Now().Add(deathTimeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if p.dead() {
			return nil
		}
	}
	return fmt.Errorf("pid %d still lives %s after SIGKILL", p.pid, deathTimeout)
}

// dead also holds of a zombie, which its parent has not yet waited for.
func (p *process) dead() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return true
	}
	// The state follows the name, which is in parentheses and may itself hold any character.
	_, state, found := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
	return !found || strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
}

// kills tells whether nothing is left of it after strike.
func (p *process) kills() bool {
	return p.signal == syscall.SIGKILL
}
