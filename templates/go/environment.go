package model

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// A process has one ONNX Runtime environment, which all models share. The first model of this package opens it, the last one
// that is closed closes it. If the program has opened it before, it is the program's to close, after the last model: do that
// where several packages like this one are in use.
var environment struct {
	sync.Mutex
	users   int
	ours    bool
	library string
}

// DefaultLibrary is the name that the system's loader is asked for when NewModel gets no path.
func DefaultLibrary() string {
	switch runtime.GOOS {
	case "windows":
		return "onnxruntime.dll"
	case "darwin", "ios":
		return "libonnxruntime.dylib"
	}
	return "libonnxruntime.so"
}

func acquire(library string) error {
	environment.Lock()
	defer environment.Unlock()
	if environment.users > 0 && !ort.IsInitialized() {
		return errGone
	}
	if environment.ours && library != "" && !sameFile(library, environment.library) {
		return fmt.Errorf("ONNX Runtime is already loaded from %s, and a process has only one: close its models before %s is opened, or give NewModel the one that is loaded", environment.library, library)
	}
	if !ort.IsInitialized() {
		if err := open(library); err != nil {
			return err
		}
	}
	environment.users++
	return nil
}

// beside is the whole path of a file in the folder of the model: the loader looks for a mere name among the system's libraries.
func beside(modelPath, file string) (string, error) {
	return filepath.Abs(filepath.Join(filepath.Dir(modelPath), file))
}

// sameFile says whether two paths lead to one file. Names that the system's loader looks up are compared as they are.
func sameFile(one, other string) bool {
	if one == other {
		return true
	}
	if filepath.Base(one) == one || filepath.Base(other) == other {
		return false
	}
	first, err := os.Stat(one)
	if err != nil {
		return false
	}
	second, err := os.Stat(other)
	return err == nil && os.SameFile(first, second)
}

func open(library string) error {
	if library == "" {
		library = DefaultLibrary()
	}
	ort.SetSharedLibraryPath(library)
	if err := ort.InitializeEnvironment(); err != nil {
		return fmt.Errorf("ONNX Runtime cannot be opened from %s (it must be 1.%d or newer): %w", library, leastAPI, err)
	}
	environment.ours, environment.library = true, library
	if whole, err := filepath.Abs(library); err == nil && filepath.Base(library) != library {
		environment.library = whole
	}
	return nil
}

func release() error {
	environment.Lock()
	defer environment.Unlock()
	environment.users--
	if environment.users > 0 || !environment.ours {
		return nil
	}
	environment.ours = false
	if !ort.IsInitialized() {
		return errGone
	}
	return ort.DestroyEnvironment()
}

var errGone = errors.New("somebody else has closed the ONNX Runtime environment while models were open")
