// The top on images of a folder: testbench FOLDER [COUNT [FOUND]].
//
// FOLDER holds inputs.txt and outputs.txt, an image a line, its integers in the order of the stream; and depths.txt, a
// stream's name and depth a line, for simulation on bounded streams. Only the first COUNT images are run; what came
// out is written to FOUND. The exit status is 0 when every output is as expected.

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "top.hpp"

typedef std::vector<long long> Image;

static std::vector<Image> read_images(std::string const &path, std::size_t size, std::size_t count) {
  std::vector<Image> images;
  std::ifstream file(path);
  std::string line;
  while (images.size() < count && std::getline(file, line)) {
    std::istringstream numbers(line);
    images.emplace_back(std::istream_iterator<long long>(numbers), std::istream_iterator<long long>());
    if (images.back().size() != size) {
      std::printf("%s: image %zu has %zu integers, not %zu\n", path.c_str(), images.size() - 1, images.back().size(),
                  size);
      std::exit(5);
    }
  }
  if (images.empty()) {
    std::printf("%s: there is no image\n", path.c_str());
    std::exit(5);
  }
  return images;
}

static void send(Image const &image, Input &stream) {
  for (std::size_t i = 0; i < image.size(); i += INPUT_LANES) {
    ap_uint<INPUT_LANES * INPUT_BITS> word;
    for (unsigned lane = 0; lane < INPUT_LANES; lane++) {
      word((lane + 1) * INPUT_BITS - 1, lane * INPUT_BITS) = ap_uint<INPUT_BITS>(image[i + lane]);
    }
    stream.write(word);
  }
}

static Image receive(Output &stream) {
  Image image;
  while (image.size() < OUTPUT_SIZE && !stream.empty()) {
    ap_uint<OUTPUT_LANES * OUTPUT_BITS> const word = stream.read();
    for (unsigned lane = 0; lane < OUTPUT_LANES; lane++) {
      OutputNumber const number =
          ap_uint<OUTPUT_BITS>(word((lane + 1) * OUTPUT_BITS - 1, lane * OUTPUT_BITS));
      image.push_back(number.to_int64());
    }
  }
  return image;
}

int main(int count_arguments, char **arguments) {
  if (count_arguments < 2) {
    std::printf("usage: %s FOLDER [COUNT [FOUND]]\n", arguments[0]);
    return 5;
  }
  std::string const folder = std::string(arguments[1]) + "/";
  std::size_t const most = count_arguments > 2 ? std::strtoul(arguments[2], nullptr, 10) : ~std::size_t(0);
  std::vector<Image> const inputs = read_images(folder + "inputs.txt", INPUT_SIZE, most);
  std::vector<Image> const expected = read_images(folder + "outputs.txt", OUTPUT_SIZE, inputs.size());
  if (expected.size() != inputs.size()) {
    std::printf("%soutputs.txt: %zu images, and %zu inputs\n", folder.c_str(), expected.size(), inputs.size());
    return 5;
  }
#ifdef GRAPHOPS_BOUNDED
  std::ifstream depths(folder + "depths.txt");
  std::string name;
  for (std::size_t depth; depths >> name >> depth;) simulation::depths()[name] = depth;
  std::size_t const at_once = inputs.size();
#else
  std::size_t const at_once = 2;  // one after another in one call, so that a layer must end an image cleanly
#endif

  std::ofstream found;
  if (count_arguments > 3) found.open(arguments[3]);
  Input input("input");
  Output output("output");
  std::size_t outputs = 0, different = 0;
  for (std::size_t first = 0; first < inputs.size(); first += at_once) {
    std::size_t const last = first + at_once < inputs.size() ? first + at_once : inputs.size();
    for (std::size_t i = first; i < last; i++) send(inputs[i], input);
    TOP(input, output, last - first);
    for (std::size_t i = first; i < last; i++) {
      Image const image = receive(output);
      for (std::size_t k = 0; k < OUTPUT_SIZE; k++) {
        bool const there = k < image.size();
        outputs++;
        if (there && image[k] == expected[i][k]) continue;
        if (different++ < 5) {
          std::printf("image %zu, output %zu: %s, expected %lld\n", i, k,
                      there ? std::to_string(image[k]).c_str() : "nothing", expected[i][k]);
        }
      }
      for (std::size_t k = 0; k < image.size(); k++) found << (k ? " " : "") << image[k];
      found << "\n";
    }
#ifdef GRAPHOPS_SIMULATION
    simulation::check_all_empty();
#endif
  }
  std::printf("images %zu outputs %zu different %zu\n", inputs.size(), outputs, different);
  return different == 0 ? 0 : 1;
}
