// finn-hlslib names this type of AXI packets in templates that are not called here; C simulation knows it by name alone.
#ifndef AP_AXI_SDATA_H
#define AP_AXI_SDATA_H
template<int Data, int User, int Id, int Destination>
struct qdma_axis;
#endif
